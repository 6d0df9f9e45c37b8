import { create, toBinary } from "@bufbuild/protobuf";
import { TailRunLogsResponseSchema } from "@freehold/client/gen/freehold/deployments/v1/run_service_pb";
import type { Browser, Page } from "playwright-core";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, expect, test } from "vitest";

import { SHOTS, accessible, faults, launch, open, picture } from "./browser.js";
import { Installation, prepare, until } from "./installation.js";

const installation = new Installation();
let browser: Browser;

beforeAll(async () => {
  [browser] = await Promise.all([launch(), installation.start()]);
  await prepare(installation);
});
afterAll(async () => {
  await browser?.close();
  await installation.remove();
});

/** Signs in by the link, and waits until the tenant's places are known. */
async function signIn(page: Page): Promise<void> {
  await page.goto(installation.link);
  await page.getByRole("link", { name: "Blueprints" }).waitFor();
}

/** A log as the server streams it: messages in frames, and the trailers in the last one. */
function hugeLog(lines: number): Buffer {
  const frame = (flag: number, bytes: Uint8Array) => {
    const head = Buffer.alloc(5);
    head.writeUInt8(flag);
    head.writeUInt32BE(bytes.length, 1);
    return Buffer.concat([head, bytes]);
  };
  const frames: Buffer[] = [];
  for (let from = 0; from < lines; from += 1_000) {
    const part = Array.from({ length: 1_000 }, (_, at) => ({ text: `line ${from + at + 1} ${"and so on ".repeat(at % 20)}`, address: "file.note" }));
    frames.push(frame(0, toBinary(TailRunLogsResponseSchema, create(TailRunLogsResponseSchema, { lines: part, nextOffset: BigInt(from + 1_000) }))));
  }
  return Buffer.concat([...frames, frame(0x80, Buffer.from("grpc-status: 0\r\n"))]);
}

/** The newest run of a deployment, as the path of its page. */
async function lastRun(page: Page, path: string): Promise<string> {
  await page.goto(`${installation.origin}${path}?tab=runs`);
  return (await page.locator("a.run-row").first().getAttribute("href")) ?? "";
}

test("a link signs in, and the token is in the address no more", async () => {
  const { page, context, complaints } = await open(browser);
  const network = await context.newCDPSession(page);
  await network.send("Network.enable");
  let bytes = 0;
  network.on("Network.loadingFinished", ({ encodedDataLength }) => {
    bytes += encodedDataLength;
  });
  await page.goto(installation.link);
  // By the page's own clock, which begins with the navigation.
  const shown = (selector: string) =>
    page.waitForFunction((selector) => document.querySelector(selector) && performance.now(), selector, { polling: "raf" }).then((time) => time.jsonValue());
  const [usable, filled] = [await shown("main h1"), await shown("main .calm, main .row")];
  const [assets] = await page.evaluate(() => {
    const entries = performance.getEntriesByType("resource") as PerformanceResourceTiming[];
    const page = performance.getEntriesByType("navigation")[0] as PerformanceNavigationTiming;
    return [entries.filter((entry) => entry.name.includes("/assets/")).reduce((sum, entry) => sum + entry.encodedBodySize, page.encodedBodySize)];
  });
  console.log(`first load: ${((assets ?? 0) / 1024).toFixed(1)} KiB of files, ${(bytes / 1024).toFixed(1)} KiB with calls; usable after ${Math.round(Number(usable))} ms, its content there after ${Math.round(Number(filled))} ms`);
  expect((assets ?? 0) / 1024).toBeLessThan(120);

  expect(page.url()).toBe(`${installation.origin}/`);
  expect(await page.evaluate(() => history.length)).toBeLessThanOrEqual(2);
  expect(await page.evaluate(() => sessionStorage.getItem("freehold.token"))).toBeTruthy();
  // A reload goes on; signing out forgets.
  await page.reload();
  await page.getByRole("heading", { name: "Home" }).waitFor();
  await page.getByRole("button", { name: "Sign out" }).click();
  await page.getByLabel("API key").waitFor();
  expect(await page.evaluate(() => sessionStorage.length)).toBe(0);
  expect(complaints).toEqual([]);
  await context.close();
});

test("a deployment is made from the form, and its run is followed, approved and seen to succeed", async () => {
  const { page, context, complaints } = await open(browser);
  await signIn(page);
  await page.keyboard.press("g");
  await page.keyboard.press("b");
  await page.getByRole("link", { name: "everything" }).click();
  await page.getByRole("link", { name: "Deploy 1.0.0" }).click();
  await page.locator("label", { hasText: "Environment" }).locator("select").selectOption("shop/stage");

  // All that is wrong is said at its field: by the schema at once, and by the server what only it knows.
  const create = page.getByRole("button", { name: "Create and plan" });
  await create.click();
  await page.locator("#field-inputs\\.title-fault").getByText("is required").waitFor();
  await page.locator("#field-inputs\\.title").fill("ab");
  await page.locator("#field-inputs\\.title-fault").getByText("at least 3 characters").waitFor();
  await page.locator("#field-deployment_id").fill("web");
  await page.locator("#field-inputs\\.title").fill("The shop's front");
  await page.locator("#field-inputs\\.size").selectOption("large");
  await page.getByText("large needs at least three replicas").first().waitFor();
  await page.locator("#field-inputs\\.replicas").fill("3");
  await page.locator("#field-inputs\\.public").selectOption("true");
  await page.getByRole("button", { name: "Add to hosts" }).click();
  await page.getByLabel("hosts 1", { exact: true }).fill("shop.example");
  await page.getByRole("button", { name: "Add to labels" }).click();
  await page.getByLabel("Name of labels 1").fill("team");
  await page.locator(".item .map-key + input").fill("front");
  await page.locator("#field-inputs\\.limits\\.cpu").fill("0.5");
  await page.locator("#field-inputs\\.token").fill("0123456789abcdef");
  await accessible(page, "deploy");
  await picture(page, "deploy-filled");
  await create.click();

  await page.getByRole("heading", { name: "Apply web" }).waitFor();
  await page.getByText("awaiting approval").first().waitFor();
  expect(await page.locator(".plan-counts").innerText()).toContain("2");
  await page.getByText("0 of 1 approvals").waitFor();
  await accessible(page, "run that waits");
  await page.keyboard.press("a");
  await page.getByLabel("Why (optional)").fill("looks right");
  await picture(page, "run-approve");
  await page.keyboard.press("Enter");
  await page.locator(".page-title .badge.good").getByText("succeeded").waitFor();
  await page.getByText("2 of 2 done").waitFor();
  await page.locator(".log-lines").getByText("creation is done").first().waitFor();
  await page.getByText("looks right").waitFor();
  await accessible(page, "run that succeeded");

  // A line of the log has an address, and the search finds lines.
  await page.locator(".line-number").nth(1).click();
  expect(new URL(page.url()).hash).toBe("#L2");
  await page.getByLabel("Search in the log").fill("creation is done");
  await page.getByText("1 of 2").waitFor();
  await page.getByRole("link", { name: "Show the deployment" }).click();
  await page.getByText("revision 1 is real").waitFor();
  expect(complaints).toEqual([]);
  await context.close();
});

test("inputs are changed where they are, and what is secret stays", async () => {
  const { page, context } = await open(browser);
  await signIn(page);
  await page.goto(`${installation.origin}/t/acme/p/shop/e/stage/d/web`);
  await page.getByRole("link", { name: "Change" }).click();
  const title = page.locator("#field-inputs\\.title");
  await until("the form has what is there", async () => (await title.inputValue()) === "The shop's front");
  expect(await page.locator("#field-inputs\\.token").inputValue()).toBe("");
  await title.fill("The shop's back");
  await accessible(page, "change");
  await picture(page, "change");
  await page.getByRole("button", { name: "Change and plan" }).click();
  await page.getByRole("heading", { name: "Apply web" }).waitFor();
  const page_ = page.locator(".change", { hasText: "file.page" });
  await page_.locator(".old").getByText("The shop's front large 3 1 1").waitFor();
  await page_.locator(".new").getByText("The shop's back large 3 1 1").waitFor();
  await page.getByRole("button", { name: "Cancel the run" }).click();
  await page.locator(".page-title .badge").getByText("cancelled").waitFor();
  await context.close();
});

test("another way to say no", async () => {
  const { page, context } = await open(browser);
  await signIn(page);
  await page.goto(`${installation.origin}/t/acme/p/shop/e/stage/d/web`);
  await page.getByRole("button", { name: "Destroy…" }).click();
  await page.getByRole("heading", { name: "Destroy web" }).waitFor();
  await page.locator(".decision").waitFor();
  expect(await page.locator(".plan-group.delete").isVisible()).toBe(true);
  await page.keyboard.press("a");
  await page.getByText(/Destroys .*file/).waitFor();
  await picture(page, "run-destroy");
  await accessible(page, "decision");
  await page.keyboard.press("Escape");
  await until("the focus is back", () => page.evaluate(() => document.activeElement?.textContent?.includes("Approve") ?? false));
  await page.keyboard.press("r");
  await page.getByRole("button", { name: "Reject this plan" }).click();
  await page.locator(".page-title .badge").getByText("rejected").waitFor();
  await context.close();
});

test("a hundred thousand lines of log are searched, linked to and scrolled, and only those in sight are there", async () => {
  const { page, context } = await open(browser);
  await signIn(page);
  const run = await lastRun(page, "/t/acme/p/shop/e/dev/d/hello");
  await page.route("**/freehold.deployments.v1.RunService/TailRunLogs", (route) =>
    route.fulfill({ contentType: "application/grpc-web+proto", body: hugeLog(100_000) }),
  );
  await page.goto(`${installation.origin}${run}#L50000`);
  await page.getByText("100,000 lines").waitFor();
  // The line that the address names is in sight.
  await page.locator(".log-lines .target").getByText("line 50000 ").waitFor();
  await page.getByLabel("Search in the log").fill("line 99999 ");
  await page.getByText("1 of 1").waitFor();
  await page.locator(".log-lines .hit").getByText("line 99999 ").waitFor();
  expect(await page.locator(".log-lines li").count()).toBeLessThan(120);
  // Down all of it in a hundred steps, one for each frame.
  const slowest = await page.evaluate(async () => {
    const box = document.querySelector(".log-lines");
    let [slowest, last] = [0, performance.now()];
    for (let step = 0; step <= 100 && box; step++) {
      box.scrollTop = (box.scrollHeight * step) / 100;
      await new Promise(requestAnimationFrame);
      slowest = Math.max(slowest, performance.now() - last);
      last = performance.now();
    }
    return slowest;
  });
  console.log(`100,000 lines: the slowest of 100 frames took ${slowest.toFixed(0)} ms`);
  await page.getByLabel("wrap").uncheck();
  await page.locator(".log-lines li").first().waitFor();
  await context.close();
});

test("every page is sound for everybody, in both colours, and is a picture to look at", async () => {
  const wrong: string[] = [];
  for (const scheme of ["light", "dark"] as const) {
    const { page, context, complaints } = await open(browser, scheme);
    await page.goto(installation.origin);
    await page.getByLabel("API key").waitFor();
    wrong.push(...(await faults(page, `sign in (${scheme})`)));
    await picture(page, `signin-${scheme}`);
    await signIn(page);
    const hello = "/t/acme/p/shop/e/dev/d/hello";
    const pages: Record<string, [path: string, ready: string]> = {
      home: ["/", "main .panel, main .calm"],
      tenant: ["/t/acme", ".quota"],
      project: ["/t/acme/p/shop", "main .row"],
      environment: ["/t/acme/p/shop/e/dev", "tbody tr"],
      "environment-filtered": ["/t/acme/p/shop/e/dev?q=nothing", ".empty"],
      deployment: [hello, ".values tr"],
      resources: [`${hello}?tab=resources`, "tbody tr"],
      revisions: [`${hello}?tab=revisions`, ".revision"],
      drift: [`${hello}?tab=drift`, ".empty"],
      runs: [`${hello}?tab=runs`, ".run-row"],
      run: [await lastRun(page, hello), ".change"],
      blueprints: ["/t/acme/blueprints", "main .row"],
      blueprint: ["/t/acme/blueprints/everything", "tbody tr"],
      deploy: ["/t/acme/deploy?blueprint=everything&in=shop/dev", ".field"],
      audit: ["/t/acme/audit", ".audit li"],
      "audit-installation": ["/audit", ".audit li, .empty"],
      admin: ["/admin", "tbody tr"],
      missing: ["/t/acme/p/shop/e/dev/d/gone", ".error"],
      nowhere: ["/nowhere", "h1"],
    };
    for (const [name, [path, ready]] of Object.entries(pages)) {
      await page.goto(installation.origin + path);
      await page.locator(ready).first().waitFor();
      wrong.push(...(await faults(page, `${name} (${scheme})`)));
      await picture(page, `${name}-${scheme}`);
    }
    await page.keyboard.press("?");
    await page.getByRole("complementary", { name: "Keys" }).waitFor();
    wrong.push(...(await faults(page, `keys (${scheme})`)));
    expect(complaints).toEqual([]);
    await context.close();
  }
  expect(wrong, wrong.join("\n")).toEqual([]);
  console.log(`pictures are in ${SHOTS}`);
});

test("an error says what the server says, with its reason and the id to report it by", async () => {
  const { page, context } = await open(browser);
  await signIn(page);
  await page.goto(`${installation.origin}/t/acme/p/shop/e/dev/d/gone`);
  const error = page.getByRole("alert");
  await error.getByText("RESOURCE_NOT_FOUND").waitFor();
  await error.getByRole("button", { name: /copy request id/ }).waitFor();
  await context.close();
});

test("keys go to places, move in lists and search", async () => {
  const { page, context } = await open(browser);
  await signIn(page);
  await page.keyboard.press("g");
  await page.keyboard.press("t");
  await page.getByRole("heading", { name: "Acme" }).waitFor();
  // Who cannot see that the page has changed hears its title.
  await until("the title has the focus", () => page.evaluate(() => document.activeElement?.tagName === "H1"));
  // The lists of a page come one by one; the first key goes to the first row that is there.
  await page.locator("main .row", { hasText: "Web shop" }).waitFor();
  await page.keyboard.press("j");
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "Web shop" }).waitFor();
  await page.locator("main .row").nth(1).waitFor();
  await page.keyboard.press("j");
  await page.keyboard.press("j");
  expect(await page.evaluate(() => document.activeElement?.textContent)).toContain("stage");
  await page.keyboard.press("/");
  await page.keyboard.type("hell");
  await page.getByRole("option", { name: /shop\/dev\/hello/ }).waitFor();
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "hello" }).waitFor();
  await page.goBack();
  await page.getByRole("heading", { name: "Web shop" }).waitFor();
  await context.close();
});

test("an API key signs in, and who it stands for sees their tenant", async () => {
  const freehold = installation.client();
  await freehold.users.inviteUser({ parent: "tenants/acme", userId: "ada", user: { displayName: "Ada", email: "ada@shop.example" } });
  const member = "tenants/acme/users/ada";
  await freehold.access.createRoleBinding({ parent: "tenants/acme", roleBinding: { role: "roles/viewer", member, resource: "tenants/acme" } });
  const expireTime = { seconds: BigInt(Math.floor(Date.now() / 1000) + 3600) };
  const { secret } = await freehold.apiKeys.createApiKey({ parent: "tenants/acme", apiKey: { displayName: "e2e", principal: member, expireTime } });

  const { page, context } = await open(browser);
  await page.goto(`${installation.origin}/t/acme/p/shop`);
  await page.getByLabel("API key").fill("not a key");
  await page.keyboard.press("Enter");
  await page.getByText("TOKEN_INVALID").waitFor();
  await page.getByLabel("API key").fill(secret);
  await page.keyboard.press("Enter");
  // Where the address led before.
  await page.getByRole("heading", { name: "Web shop" }).waitFor();
  expect(await page.getByRole("link", { name: "Installation" }).count()).toBe(0);
  expect(await page.evaluate((key) => JSON.stringify({ ...sessionStorage, ...localStorage }).includes(key), secret)).toBe(false);
  await page.goto(`${installation.origin}/t/acme/p/shop/e/stage/d/web`);
  await page.getByRole("button", { name: "Plan", exact: true }).click();
  await page.getByText("PERMISSION_MISSING").waitFor();
  await context.close();
});

test("a page of another origin is refused", async () => {
  const stranger = createServer((_, answer) => {
    answer.setHeader("content-type", "text/html");
    answer.end("<!doctype html><title>stranger</title>");
  });
  await new Promise<void>((done) => stranger.listen(0, "127.0.0.1", done));
  const { page, context } = await open(browser);
  await page.goto(`http://127.0.0.1:${(stranger.address() as AddressInfo).port}/`);
  const method = `${installation.origin}/freehold.meta.v1.ServerInfoService/GetServerInfo`;
  const ask = (type: string) =>
    page.evaluate(
      ([url, type]) =>
        fetch(url ?? "", { method: "POST", headers: { "content-type": type ?? "" }, body: new Uint8Array(5) }).then(
          (answer) => `read ${answer.status}`,
          (error: Error) => error.name,
        ),
      [method, type],
    );
  // With a preflight, and as a simple request that browsers send without asking.
  expect(await ask("application/grpc-web+proto")).toBe("TypeError");
  expect(await ask("text/plain")).toBe("TypeError");
  await page.goto(installation.origin);
  expect(await ask("application/grpc-web+proto")).toBe("read 200");
  await context.close();
  await new Promise((done) => stranger.close(done));
});

test("a server that goes away is missed quietly, and the page heals when it is back", async () => {
  const { page, context } = await open(browser);
  await signIn(page);
  await page.goto(`${installation.origin}/t/acme/p/shop/e/dev`);
  await page.locator("tbody tr").first().waitFor();
  await installation.stop();
  await page.getByText("The server is not heard").waitFor();
  expect(await page.locator("tbody tr").count()).toBeGreaterThan(0);
  await installation.start();
  await page.getByText("The server is not heard").waitFor({ state: "detached" });
  const { deployments } = installation.client();
  const web = { parent: "tenants/acme/projects/shop/environments/dev", deploymentId: "late" };
  await deployments.createDeployment({ ...web, deployment: { blueprintVersion: "tenants/acme/blueprints/greeting/versions/1.0.0", inputs: { name: "late" } } });
  await page.getByRole("link", { name: "late" }).waitFor();
  await context.close();
});
