import { createHash } from "node:crypto";
import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { defineConfig, type Plugin } from "vite";

const folder = (path: string) => fileURLToPath(new URL(path, import.meta.url));
const out = folder("../target/web");
const parts = folder("../target/web-parts");

/** Lists what a browser downloads, with the lengths as sent and compressed, for the service worker and the page itself. */
function downloads(): Plugin {
  const files = (directory: string): string[] =>
    readdirSync(directory, { withFileTypes: true }).flatMap((entry) =>
      entry.isDirectory() ? files(join(directory, entry.name)) : [join(directory, entry.name)],
    );
  return {
    name: "downloads",
    apply: "build",
    closeBundle() {
      const version = createHash("sha256");
      const list = files(out).filter((file) => !/(^|\/)(images|downloads\.json|sw\.js)/.test(relative(out, file)));
      const lengths = list.sort().map((file) => {
        const bytes = readFileSync(file);
        version.update(relative(out, file)).update(bytes);
        return { path: relative(out, file).replaceAll("\\", "/"), bytes: bytes.length, compressed: gzipSync(bytes, { level: 9 }).length };
      });
      const compressed = lengths.reduce((sum, file) => sum + file.compressed, 0);
      writeFileSync(join(out, "downloads.json"), JSON.stringify({ version: version.digest("hex").slice(0, 16), compressed, files: lengths }));
      console.log(`the page: ${list.length} files, ${compressed} bytes compressed`);
      if (compressed > 3_000_000) throw new Error(`the page is ${compressed} bytes compressed, and may have 3,000,000`);
    },
  };
}

export default defineConfig({
  root: folder("."),
  // Any path of any host.
  base: "./",
  build: { outDir: out, emptyOutDir: true, target: "es2022", modulePreload: { polyfill: false }, assetsInlineLimit: 0, reportCompressedSize: false },
  worker: { format: "es" },
  resolve: { alias: { "#parts": parts } },
  plugins: [downloads()],
  preview: { port: 4173, strictPort: true },
});
