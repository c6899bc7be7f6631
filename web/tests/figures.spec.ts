// Figures of docs/web.md. They are printed, and decide nothing.

import { expect, test } from "@playwright/test";
import { readFileSync } from "node:fs";
import { json } from "./command";

const middle = (numbers: number[]) => numbers.sort((a, b) => a - b)[Math.floor(numbers.length / 2)]!;

test("figures", async ({ browser }) => {
  const [firsts, early, rates, native]: number[][] = [[], [], [], []];
  for (let run = 0; run < 5; run++) {
    const page = await (await browser.newContext({ serviceWorkers: "block" })).newPage();
    await page.addInitScript(() => {
      addEventListener("DOMContentLoaded", () => {
        const text = document.getElementById("story-text")!;
        new MutationObserver(() => (document.documentElement.dataset.first ??= String(performance.now()))).observe(text, { childList: true });
      });
    });
    await page.goto("./#model=c44a69e32efb6206&prompt=Once+upon+a+time&t=0.8&p=0.95&s=7&n=256");
    await expect(page.locator("#figures")).toContainText("seed 7");
    firsts!.push(Number(await page.locator("html").getAttribute("data-first")));
    const rate = async () => Number((await page.locator("#figures").textContent())!.match(/at ([\d.,]+) tokens\/s/)![1]!.replace(",", ""));
    early!.push(await rate());
    // The browser compiles again, and better, what it runs often.
    for (let text = 0; text < 4; text++) {
      await page.locator("#figures").evaluate((figures) => (figures.textContent = ""));
      await page.getByRole("button", { name: "Write", exact: true }).click();
      await expect(page.locator("#figures")).toContainText("seed");
    }
    rates!.push(await rate());
    native!.push(json("run", "--prompt", "Once upon a time", "--seed", "7").tokens_per_second);
    await page.context().close();
  }
  const downloads = JSON.parse(readFileSync(new URL("../../target/web/downloads.json", import.meta.url), "utf8")) as { compressed: number; files: { path: string; bytes: number; compressed: number }[] };
  const lines = downloads.files.map(({ path, bytes, compressed }) => `${String(compressed).padStart(9)} of ${String(bytes).padStart(9)} bytes  ${path}`);
  console.log(`download, compressed: ${downloads.compressed} bytes\n${lines.join("\n")}`);
  console.log(`opening to first text: ${middle(firsts!).toFixed(0)} ms; page ${middle(early!).toFixed(0)} tokens/s in the first text and ${middle(rates!).toFixed(0)} in the fifth, command ${middle(native!).toFixed(0)} tokens/s (medians of 5)`);
});
