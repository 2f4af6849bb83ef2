// Go's own client as people use it. Arguments: what to do, the URL, then the file's path and name, or the body's text.
// Prints the answer's status and body, each on a line.
package main

import (
	"bytes"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/url"
	"os"
	"strings"
)

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// Streamed through a pipe, as is done with large files: without a length, so chunked.
func upload(address, path, name string, streamed bool) (*http.Response, error) {
	write := func(target io.Writer) string {
		form := multipart.NewWriter(target)
		part, err := form.CreateFormFile("file", name)
		must(err)
		file, err := os.Open(path)
		must(err)
		defer file.Close()
		_, err = io.Copy(part, file)
		must(err)
		must(form.Close())
		return form.FormDataContentType()
	}
	if !streamed {
		var body bytes.Buffer
		kind := write(&body)
		return http.Post(address, kind, &body)
	}
	reader, writer := io.Pipe()
	form := multipart.NewWriter(writer)
	go func() {
		part, err := form.CreateFormFile("file", name)
		must(err)
		file, err := os.Open(path)
		must(err)
		defer file.Close()
		_, err = io.Copy(part, file)
		must(err)
		must(form.Close())
		writer.Close()
	}()
	return http.Post(address, form.FormDataContentType(), reader)
}

func main() {
	var response *http.Response
	var err error
	address := os.Args[2]
	switch os.Args[1] {
	case "go-upload":
		response, err = upload(address, os.Args[3], os.Args[4], false)
	case "go-stream":
		response, err = upload(address, os.Args[3], os.Args[4], true)
	case "go-json":
		response, err = http.Post(address, "application/json", strings.NewReader(os.Args[3]))
	case "go-form":
		var values url.Values
		values, err = url.ParseQuery(os.Args[3])
		must(err)
		response, err = http.PostForm(address, values)
	}
	must(err)
	body, err := io.ReadAll(response.Body)
	must(err)
	fmt.Println(response.StatusCode)
	fmt.Println(string(body))
}
