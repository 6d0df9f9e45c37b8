import { type Browser, type BrowserContext, type Page, chromium } from "playwright-core";
import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "vitest";

import { PATIENCE } from "./installation.js";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const CHROMIUM = [process.env["FREEHOLD_CHROMIUM"], "/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
/** Where screenshots go, for people to look at. */
export const SHOTS = process.env["FREEHOLD_SHOTS"] ?? join(tmpdir(), "freehold-shots");

/** The browser of this machine. */
export function launch(): Promise<Browser> {
  const executablePath = CHROMIUM.find((path) => path && existsSync(path));
  if (!executablePath) throw new Error("install Chromium (Debian: apt-get install chromium), or set FREEHOLD_CHROMIUM to it");
  mkdirSync(SHOTS, { recursive: true });
  return chromium.launch({ executablePath, args: ["--no-sandbox"] });
}

/** A page of a person of their own. What it complains of fails the test. */
export async function open(browser: Browser, colorScheme: "light" | "dark" = "light"): Promise<{ page: Page; context: BrowserContext; complaints: string[] }> {
  const context = await browser.newContext({ ignoreHTTPSErrors: true, colorScheme, viewport: { width: 1360, height: 900 } });
  context.setDefaultTimeout(PATIENCE);
  const page = await context.newPage();
  const complaints: string[] = [];
  page.on("console", (message) => {
    if (message.type() === "error" || message.type() === "warning") complaints.push(message.text());
  });
  page.on("pageerror", (error) => complaints.push(error.message));
  return { page, context, complaints };
}

interface Violation {
  id: string;
  help: string;
  nodes: { target: string[]; failureSummary: string }[];
}

/** Fails with everything that axe finds wrong with a page. */
export async function accessible(page: Page, what: string): Promise<void> {
  const said = await faults(page, what);
  expect(said, said.join("\n")).toEqual([]);
}

/** Everything that axe finds wrong with a page. */
export async function faults(page: Page, what: string): Promise<string[]> {
  // By the tool's own way in: the page's policy allows no script but its own.
  await page.evaluate(AXE);
  const found = await page.evaluate(async () => {
    const { axe } = globalThis as unknown as { axe: { run: (options: object) => Promise<{ violations: Violation[] }> } };
    return (await axe.run({ resultTypes: ["violations"] })).violations;
  });
  return found.flatMap(({ id, help, nodes }) => nodes.map((node) => `${what}: ${id}: ${help}: ${node.target.join(" ")}\n  ${node.failureSummary}`));
}

/** A picture of a page, for people to look at. */
export async function picture(page: Page, name: string): Promise<void> {
  await page.screenshot({ path: join(SHOTS, `${name}.png`), fullPage: true });
}
