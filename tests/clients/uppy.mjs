// Uppy's tus plugin as its documentation shows it, for a page: `begin` uploads the file that its <input> has, and `told` is how that goes.
import Uppy from "@uppy/core";
import Tus from "@uppy/tus";

window.told = { sent: 0, state: "" };
window.begin = (options) => {
  const uppy = new Uppy({ autoProceed: true }).use(Tus, options);
  uppy.on("upload-progress", (_, progress) => (window.told.sent = progress.bytesUploaded));
  uppy.on("complete", (result) => (window.told.state = result.failed.length ? `failed: ${result.failed[0].error}` : "done"));
  for (const file of document.querySelector("input").files) uppy.addFile({ name: file.name, type: file.type, data: file });
};
