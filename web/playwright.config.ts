import { defineConfig } from "@playwright/test";

export default defineConfig({
  testDir: "tests",
  outputDir: "../target/web-tests",
  fullyParallel: true,
  workers: 2,
  forbidOnly: Boolean(process.env.CI),
  // A busy machine is slow; no test is about time.
  timeout: 120_000,
  expect: { timeout: 60_000 },
  reporter: "line",
  use: {
    baseURL: "http://localhost:4173/",
    launchOptions: { executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox"] },
    // The worker of the service would answer in place of a test's routes.
    serviceWorkers: "block",
  },
  webServer: { command: "npm run --silent serve", url: "http://localhost:4173/", reuseExistingServer: !process.env.CI },
});
