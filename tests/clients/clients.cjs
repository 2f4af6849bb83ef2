// Node clients as people use them. Arguments: what to do, the URL, then the file's path and name, or the body's text.
// Prints the answer's status and body, each on a line.
const fs = require("fs");
const axios = require("axios");
const FormData = require("form-data");

const [what, url, first, name] = process.argv.slice(2);
const loosely = { validateStatus: () => true, transformResponse: (text) => text };

function nodeForm() {
  const form = new FormData();
  form.append("filename", name);
  form.append("file", fs.createReadStream(first), { filename: name });
  return form;
}

function webForm() {
  const form = new globalThis.FormData();
  form.append("file", new Blob([fs.readFileSync(first)], { type: "video/mp4" }), name);
  return form;
}

const clients = {
  "axios-upload": () => axios.post(url, nodeForm(), loosely),
  "axios-web-form": () => axios.post(url, webForm(), loosely),
  "axios-object": () => axios.post(url, JSON.parse(first), loosely),
  "axios-string": () => axios.post(url, first, loosely),
  "axios-params": () => axios.post(url, null, { ...loosely, params: JSON.parse(first) }),
  "axios-form": () => axios.post(url, new URLSearchParams(JSON.parse(first)), loosely),
  "fetch-upload": () => fetch(url, { method: "POST", body: webForm() }),
  "fetch-stream": () =>
    fetch(url, {
      method: "POST", body: require("stream").Readable.toWeb(nodeFormOf()), duplex: "half", headers: streamed.getHeaders(),
    }),
  "fetch-string": () => fetch(url, { method: "POST", body: first }),
};

let streamed;
function nodeFormOf() {
  streamed = nodeForm();
  return streamed.pipe(new (require("stream").PassThrough)());
}

clients[what]().then(async (response) => {
  console.log(response.status);
  console.log(typeof response.text === "function" ? await response.text() : response.data);
});
