// Keeps the page working without a network. The build fills in the three constants (`cargo xtask stamp`).
//
// Names that carry a hash never change their content and come from the cache first. Everything else comes from the network
// first and from the cache only when there is no network; as index.html names the hashed files, an old program is never
// shown while a newer one can be reached.

const VERSION = "unstamped";
const SHELL = [];
const ASSETS = [];

const SHELL_CACHE = `admix-shell-${VERSION}`;
const ASSET_CACHE = "admix-assets";
const HASHED = /-[0-9a-f]{12,}(_bg)?\.(js|wasm)$/;

addEventListener("install", (event) => {
  event.waitUntil((async () => {
    const cache = await caches.open(SHELL_CACHE);
    // no-cache: ask the server whether a copy in the browser's own cache is still good.
    await cache.addAll(SHELL.map((path) => new Request(path, { cache: HASHED.test(path) ? "default" : "no-cache" })));
    await skipWaiting();
  })());
});

addEventListener("activate", (event) => {
  event.waitUntil((async () => {
    const old = (await caches.keys()).filter((name) => name.startsWith("admix-shell-") && name !== SHELL_CACHE);
    await Promise.all(old.map((name) => caches.delete(name)));
    await clients.claim();
  })());
  // Not waited for: what is still missing when the worker is stopped is fetched when it is asked for.
  keepAssets();
});

async function keepAssets() {
  if (navigator.connection?.saveData) return;
  const cache = await caches.open(ASSET_CACHE);
  for (const path of ASSETS) {
    if (!await cache.match(path)) await cache.add(path).catch(() => {});
  }
}

async function cacheFirst(request) {
  const cache = await caches.open(SHELL_CACHE);
  const kept = await cache.match(request);
  if (kept) return kept;
  const fresh = await fetch(request);
  if (fresh.ok) await cache.put(request, fresh.clone());
  return fresh;
}

async function networkFirst(request) {
  const path = new URL(request.url).pathname.slice(new URL(registration.scope).pathname.length);
  const cache = await caches.open(path.startsWith("assets/") ? ASSET_CACHE : SHELL_CACHE);
  try {
    const fresh = await fetch(request, request.mode === "navigate" ? {} : { cache: "no-cache" });
    // The shell's own files stay as they were installed together: only assets are renewed here.
    if (fresh.status === 200 && path.startsWith("assets/")) await cache.put(request, fresh.clone());
    return fresh;
  } catch (error) {
    const kept = await cache.match(request, { ignoreSearch: true }) ?? (request.mode === "navigate" ? await cache.match("./") : undefined);
    if (kept) return kept;
    throw error;
  }
}

addEventListener("fetch", (event) => {
  const { request } = event;
  const ours = request.url.startsWith(registration.scope);
  // A part of a file cannot be kept in a cache.
  if (request.method !== "GET" || !ours || request.headers.has("range")) return;
  event.respondWith(HASHED.test(new URL(request.url).pathname) ? cacheFirst(request) : networkFirst(request));
});
