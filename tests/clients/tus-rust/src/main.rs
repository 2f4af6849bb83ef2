// The crate tus_client as its documentation shows it, on a plain connection. Arguments: what to do (whole, part, resume),
// the URL, the file's path and its name. Prints the upload's URL.
use std::cell::Cell;
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Error as IoError, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use tus_client::http::{Headers, HttpHandler, HttpRequest, HttpResponse};
use tus_client::{Client, Error};

// Of requests that go on with an upload, `left` are sent; then it is as if the line had broken.
struct Plain {
    left: Cell<usize>,
}

fn authority_and_target(url: &str) -> (String, String) {
    let rest = url.trim_start_matches("http://");
    let (authority, target) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    (authority.to_string(), target.to_string())
}

impl HttpHandler for Plain {
    fn handle_request(&self, request: HttpRequest) -> Result<HttpResponse, Error> {
        let (authority, target) = authority_and_target(&request.url);
        let body = request.body.unwrap_or(&[]);
        if !body.is_empty() {
            let left = self.left.get().checked_sub(1).ok_or(Error::IoError(IoError::from(ErrorKind::BrokenPipe)))?;
            self.left.set(left);
        }
        let method = request.method.to_string().to_uppercase();
        let mut stream = TcpStream::connect(&authority).map_err(Error::IoError)?;
        let mut head = format!("{method} {target} HTTP/1.1\r\nhost: {authority}\r\nconnection: close\r\n");
        head += &format!("content-length: {}\r\n", body.len());
        for (name, value) in &request.headers {
            head += &format!("{name}: {value}\r\n");
        }
        head += "\r\n";
        stream.write_all(head.as_bytes()).map_err(Error::IoError)?;
        stream.write_all(body).map_err(Error::IoError)?;
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        reader.read_line(&mut line).map_err(Error::IoError)?;
        let status = line.split(' ').nth(1).and_then(|text| text.parse().ok());
        let status_code = status.ok_or(Error::IoError(IoError::from(ErrorKind::InvalidData)))?;
        let mut headers = Headers::new();
        loop {
            line.clear();
            reader.read_line(&mut line).map_err(Error::IoError)?;
            match line.trim_end().split_once(':') {
                Some((name, value)) => headers.insert(name.to_lowercase(), value.trim().to_string()),
                None => break,
            };
        }
        reader.read_to_end(&mut Vec::new()).map_err(Error::IoError)?;
        Ok(HttpResponse { headers, status_code })
    }
}

// The crate takes a Location as it stands, and ours has no host.
fn absolute(base: &str, location: &str) -> String {
    format!("http://{}{}", authority_and_target(base).0, location)
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let (what, url, path) = (&arguments[1], &arguments[2], Path::new(&arguments[3]));
    let plain = Plain { left: Cell::new(if what == "part" { 2 } else { usize::MAX }) };
    let client = if what == "part" { Client::with_method_override(plain) } else { Client::new(plain) };
    let metadata = HashMap::from([("filename".to_string(), arguments[4].clone())]);
    let upload = match what.as_str() {
        "resume" => url.clone(),
        _ => absolute(url, &client.create_with_metadata(url, path, metadata).expect("no upload was made")),
    };
    let done = client.upload_with_chunk_size(&upload, path, 256 * 1024);
    assert!(done.is_ok() == (what != "part"), "{done:?}");
    println!("{upload}");
}
