// Offline: everything that downloads.json lists is kept, by the version of the whole page. A new version replaces the old one at the
// next visit. Only files of this page are ever asked for.
const LIST = "downloads.json";

async function keep() {
  const list = await (await fetch(LIST, { cache: "no-store" })).json();
  const cache = await caches.open(list.version);
  await cache.addAll(["./", ...list.files.map((file) => file.path), LIST]);
  const old = (await caches.keys()).filter((key) => key !== list.version);
  await Promise.all(old.map((key) => caches.delete(key)));
}

self.addEventListener("install", (event) => event.waitUntil(keep().then(() => self.skipWaiting())));
self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));
self.addEventListener("fetch", (event) => {
  const url = new URL(event.request.url);
  if (event.request.method !== "GET" || url.origin !== location.origin) return;
  // The page itself is asked for first, so that a new version is seen; without a network, the kept one serves.
  const kept = () => caches.match(event.request, { ignoreSearch: event.request.mode === "navigate" });
  const fresh = () => fetch(event.request);
  const answer =
    event.request.mode === "navigate" || url.pathname.endsWith("/" + LIST)
      ? fresh().catch(async () => (await kept()) ?? Response.error())
      : kept().then((response) => response ?? fresh());
  event.respondWith(answer);
});
