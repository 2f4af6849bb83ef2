"use strict";
// Times in the reader's zone.
const format = new Intl.DateTimeFormat(document.documentElement.lang, { dateStyle: "medium", timeStyle: "short" });
for (const time of document.querySelectorAll("time")) {
  time.title = time.textContent;
  time.textContent = format.format(new Date(time.dateTime));
}
// The upload form: the name from the file itself, and a progress bar.
const form = document.getElementById("upload");
if (form) {
  const bar = form.querySelector("progress");
  const output = form.querySelector("output");
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const file = form.elements.file.files[0];
    const body = new FormData();
    body.append("filename", file.name);
    body.append("file", file);
    const request = new XMLHttpRequest();
    request.responseType = "json";
    request.upload.addEventListener("progress", (step) => {
      bar.value = step.lengthComputable ? (100 * step.loaded) / step.total : 0;
      output.textContent = `${form.dataset.sending} ${Math.floor(bar.value)} %`;
    });
    request.addEventListener("loadend", () => {
      const answer = request.response;
      bar.hidden = true;
      output.textContent = "";
      if (answer && answer.code === 0) {
        const link = document.createElement("a");
        link.href = `/file/${answer.result.fileID}`;
        link.textContent = `${form.dataset.sent} ${answer.result.fileID}`;
        output.append(link);
      } else {
        output.textContent = `${form.dataset.failed}: ${answer ? answer.message : request.status}`;
      }
    });
    bar.hidden = false;
    request.open("POST", form.action);
    request.send(body);
  });
}
