// A static server whose folder can be changed while it runs, and which can go away: how a page is updated, and how it is offline.

import { createServer } from "node:http";
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { extname, join, normalize } from "node:path";

const KINDS = { ".html": "text/html; charset=utf-8", ".js": "text/javascript", ".wasm": "application/wasm", ".json": "application/json",
  ".svg": "image/svg+xml", ".webmanifest": "application/manifest+json" };

export class Server {
  constructor(folder) {
    this.folder = folder;
    this.asked = [];
  }

  async start(port = 0) {
    this.server = createServer((request, response) => this.answer(request, response));
    await new Promise((resolve) => this.server.listen(port, "127.0.0.1", resolve));
    this.port = this.server.address().port;
    return `http://127.0.0.1:${this.port}/`;
  }

  async stop() {
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
  }

  async answer(request, response) {
    const path = normalize(decodeURIComponent(new URL(request.url, "http://x").pathname));
    this.asked.push(path);
    try {
      const name = path === "/" ? "index.html" : path;
      const body = await readFile(join(this.folder, name));
      const tag = `"${createHash("sha256").update(body).digest("hex").slice(0, 16)}"`;
      const head = { "content-type": KINDS[extname(name)] ?? "application/octet-stream", "cache-control": "no-cache", etag: tag };
      if (request.headers["if-none-match"] === tag) return response.writeHead(304, head).end();
      response.writeHead(200, { ...head, "content-length": body.length }).end(body);
    } catch {
      response.writeHead(404).end("not found");
    }
  }
}
