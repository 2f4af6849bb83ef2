// tus-js-client as its documentation shows it. Arguments: what to do (whole, part, resume, stubborn), the URL, the file's path and
// its name. Prints the upload's URL.
const fs = require("fs");
const tus = require("tus-js-client");

const [what, url, path, filename] = process.argv.slice(2);
const upload = new tus.Upload(fs.createReadStream(path), {
  ...(what === "resume" ? { uploadUrl: url } : { endpoint: url }),
  chunkSize: what === "part" ? 256 * 1024 : Infinity,
  uploadSize: fs.statSync(path).size,
  metadata: { filename, filetype: "video/mp4" },
  retryDelays: Array(200).fill(20),
  uploadDataDuringCreation: what === "whole", // over a line that breaks, such an upload would be begun anew each time
  onError: (error) => {
    console.error(String(error));
    process.exit(1);
  },
  onChunkComplete: async () => {
    if (what === "part") {
      await upload.abort();
      console.log(upload.url);
    }
  },
  onSuccess: () => console.log(upload.url),
});
upload.start();
