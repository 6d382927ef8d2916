// Loads the studio and shows how far it is, or says why it cannot run here. The build calls start() with the names of its files.

const show = (id) => {
  for (const sheet of document.querySelectorAll(".sheet")) sheet.hidden = sheet.id !== id;
};

const fail = (reason) => {
  console.error(reason);
  document.getElementById("reason").textContent = String(reason?.message ?? reason);
  show("failed");
};

// The same response, with the bar moving as its body passes.
function watched(response) {
  const bar = document.getElementById("bar");
  const amount = document.getElementById("amount");
  // With a content encoding the length is that of the packed bytes, while those that pass are unpacked.
  const packed = response.headers.get("content-encoding");
  const total = packed ? 0 : Number(response.headers.get("content-length") ?? 0);
  const megabytes = (bytes) => (bytes / 1e6).toFixed(1);
  let loaded = 0;
  const body = response.body.pipeThrough(new TransformStream({
    transform(chunk, controller) {
      loaded += chunk.byteLength;
      if (total > 0) bar.value = loaded / total;
      amount.textContent = total > 0 ? `${megabytes(loaded)} of ${megabytes(total)} MB` : `${megabytes(loaded)} MB`;
      controller.enqueue(chunk);
    },
  }));
  // WebAssembly compiles while it streams only when the type says so.
  return new Response(body, { headers: { "content-type": "application/wasm" } });
}

// The page for scripts: `window.admix`. Everything throws while the studio is not running. "In the browser" in README.md has examples.
const scripting = (program) => ({
  // The history is listed as far as it was read: the newest at once, older ones when they come into sight.
  // { device, busy, waiting, live: { stage, done, total, preview, .. } or null, recipe, shown, history, shelf, notices, liveMode,
  //   offers: [{ reference, name, words, span, weight }] }
  state: () => JSON.parse(program.state()),
  // [{ role, label, value, range, disabled, on, x, y, width, height }] in the page's pixels; null until the next frame after the first call.
  controls: () => JSON.parse(program.controls()),
  // The PNG of a history entry, or of the picture on show, with recipe and infotext. Throws while an old one is read: ask again.
  picture: (id) => program.picture(id),
  // Takes the settings of a recipe (an object, its JSON, or a link).
  open: (recipe) => program.open(typeof recipe === "string" ? recipe : JSON.stringify(recipe)),
  // Takes a File in as if it had been dropped.
  add: (file) => program.add(file),
  // Makes the picture of the settings; state() tells when it is done.
  make: () => program.make(),
  // A link to this page that brings the settings back.
  link: () => location.href.split("#")[0] + program.link(),
  // Bytes of WebAssembly memory.
  memory: () => program.memory_bytes(),
});

// Keys of the studio that mean something to the browser too, such as a bookmark for Ctrl+D. Those it never gives up are not among them.
const keepKeys = (program) => {
  const taken = JSON.parse(program.shortcuts());
  const isTaken = (event) => taken.some(({ key, shift, ctrl }) =>
    key === event.key?.toLowerCase() && shift === event.shiftKey && ctrl === (event.ctrlKey || event.metaKey) && !event.altKey);
  addEventListener("keydown", (event) => isTaken(event) && event.preventDefault(), { capture: true });
};

export async function start(script, wasm) {
  try {
    if (!navigator.gpu) return show("no-webgpu");
    if (!await navigator.gpu.requestAdapter()) return show("no-adapter");
    navigator.serviceWorker?.register("./sw.js").catch((error) => console.warn("no offline copy:", error));
    const base = document.baseURI;
    const [{ default: init, ...program }, response] = await Promise.all([import(new URL(script, base)), fetch(new URL(wasm, base))]);
    if (!response.ok) throw new Error(`${wasm}: ${response.status} ${response.statusText}`);
    await init({ module_or_path: watched(response) });
    window.admix = scripting(program);
    keepKeys(program);
    show(null);
    document.getElementById("admix").focus();
  } catch (error) {
    fail(error);
  }
}
