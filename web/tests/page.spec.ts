import { expect, test } from "@playwright/test";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { offer } from "./images";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

for (const scheme of ["light", "dark"] as const) {
  for (const [device, width] of [["desktop", 1200], ["phone", 390]] as const) {
    test(`axe finds nothing on a ${device}, ${scheme}`, async ({ browser }) => {
      const context = await browser.newContext({ colorScheme: scheme, viewport: { width, height: 850 }, serviceWorkers: "block" });
      const page = await context.newPage();
      // The open model is not the image's.
      await offer(page, { model: "another" });
      await page.goto("./");
      await expect(page.locator("#figures")).toContainText("seed");
      await expect(page.locator("#map-internal")).toBeVisible();
      await expect(page.locator("#flash-fit")).toContainText("tokens/s");
      for (const summary of await page.locator("summary").all()) await summary.click();
      await page.evaluate(AXE);
      const found = await page.evaluate(async () => {
        const { axe } = globalThis as unknown as { axe: { run: () => Promise<{ violations: { id: string; nodes: { html: string }[] }[]; passes: unknown[] }> } };
        const { violations, passes } = await axe.run();
        return { violations: violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html).join(" ")}`), passes: passes.length };
      });
      console.log(`axe, ${device}, ${scheme}: ${found.passes} rules hold, ${found.violations.length} do not`);
      expect(found.violations).toEqual([]);
      // Nothing is wider than the screen.
      expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(width);
      await page.screenshot({ path: `../target/web-tests/${device}-${scheme}.png`, fullPage: true });
    });
  }
}

test("the page works without a network once it is loaded", async ({ browser }) => {
  const context = await browser.newContext({ serviceWorkers: "allow" });
  const page = await context.newPage();
  await page.goto("./");
  await page.evaluate(async () => {
    await navigator.serviceWorker.ready;
  });
  await context.setOffline(true);
  await page.reload();
  await expect(page.locator("#figures")).toContainText("seed");
  await expect(page.locator("#download")).toContainText("MB compressed");
});

test("nothing is asked of another host, and nothing breaks the policy", async ({ page }) => {
  const hosts = new Set<string>();
  const problems: string[] = [];
  page.on("request", (request) => hosts.add(new URL(request.url()).origin));
  page.on("console", (message) => message.type() === "error" && problems.push(message.text()));
  page.on("pageerror", (error) => problems.push(error.message));
  await page.goto("./");
  await expect(page.locator("#figures")).toContainText("seed");
  expect([...hosts]).toEqual(["http://localhost:4173"]);
  expect(problems).toEqual([]);
});

test("the keyboard reaches the text", async ({ page }) => {
  await page.goto("./");
  await expect(page.locator("#figures")).toContainText("seed");
  await page.keyboard.press("Tab");
  await expect(page.getByRole("link", { name: "Skip to the text" })).toBeFocused();
  await page.locator("#prompt").focus();
  await page.locator("#prompt").fill("The moon");
  await page.keyboard.press("Control+Enter");
  await expect(page.locator("#story-prompt")).toHaveText("The moon");
});
