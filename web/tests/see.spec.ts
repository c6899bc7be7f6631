import { expect, test, type Page } from "@playwright/test";
import { json } from "./command";

async function open(page: Page) {
  await page.goto("./");
  await expect(page.locator("#map-internal")).toBeVisible();
}

const BOARDS: { id: string }[] = json("plan", "--board");

test("every board has the memory of rillm plan", async ({ page }) => {
  await open(page);
  await page.getByText("As a table").click();
  for (const { id } of BOARDS) {
    for (const source of ["card", "flash"]) await compare(page, id, source);
  }
});

/** Compares the page's plan with the command's: the table, the counters, and the widths of the drawing. */
async function compare(page: Page, id: string, source: string) {
  await page.locator("#board").selectOption(id);
  await page.locator("#storage").selectOption(source);
  const plan = json("plan", "--board", id, "--source", source);
  const memory: { name: string; place: string; bytes: number }[] = plan.memory;
  const number = (number: number) => number.toLocaleString("en-US");
  await expect(async () => {
    const rows = await page.locator("#ram-table tbody tr").evaluateAll((rows) => rows.map((row) => Array.from(row.children, (cell) => cell.textContent)));
    expect(rows, `${id}, ${source}`).toEqual(memory.map((row) => [row.name, row.place, number(row.bytes)]));
  }).toPass();
  await expect(page.locator("#per-bytes")).toHaveAttribute("title", `${number(plan.bytes_per_token)} bytes`);
  await expect(page.locator("#per-reads")).toHaveText(number(plan.reads_per_token));
  await expect(page.locator("#per-seeks")).toHaveText(number(plan.seeks_per_token));
  for (const [map, given, is] of [["#map-internal", plan.board.ram, true], ["#map-external", plan.board.external, false]] as const) {
    const expected = memory.filter((row) => (row.place === "SRAM") === is && row.bytes > 0).map((row) => row.bytes);
    const parts = await page.locator(`${map} rect`).evaluateAll((parts) => parts.map((part) => [Number((part as SVGElement).dataset.bytes), Number(part.getAttribute("width"))]));
    expect(parts.slice(0, expected.length).map(([bytes]) => bytes)).toEqual(expected);
    for (const [bytes, width] of parts) expect(width! / 1000).toBeCloseTo(bytes! / given, 6);
  }
}

test("the text on a board is the text of the page, and reads what the plan says", async ({ page }) => {
  await open(page);
  await expect(page.locator("#figures")).toContainText("seed");
  await page.getByLabel("As fast as this computer").check();
  await page.getByRole("button", { name: "Write in this memory" }).click();
  await expect(page.locator("#see-figures")).toContainText("bit for bit");
  expect(await page.locator("#see-text").textContent()).toBe(await page.locator("#story-text").textContent());
});

test("at the board's pace a text takes its time, and can be stopped", async ({ page }) => {
  await open(page);
  await expect(page.locator("#figures")).toContainText("seed");
  await page.getByRole("button", { name: "Write in this memory" }).click();
  await expect(page.locator("#see-figures")).toContainText("the last token 1.33 MiB");
  await expect(page.locator("#tape-drawing .fill-head")).toHaveAttribute("visibility", "visible");
  await page.locator("#see-stop").click();
  await expect(page.locator("#see-figures")).toContainText("as far as it goes, the same text");
});

test("less memory has fewer resident weights, and too little is told", async ({ page }) => {
  await open(page);
  await page.locator("#board").selectOption("esp32-wrover");
  const label = () => page.locator("#tape-drawing").getAttribute("aria-label");
  await expect.poll(label).toContain("0 bytes stream");
  await page.locator("#budget").fill("40");
  await expect.poll(label).not.toContain("0 bytes stream");
  await page.locator("#budget").fill("0");
  await expect(page.locator("#see-message")).toContainText("too few");
});
