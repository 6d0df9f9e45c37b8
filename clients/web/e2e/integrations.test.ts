import type { Browser, Page } from "playwright-core";
import { createHmac } from "node:crypto";
import { type Server, createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, expect, test } from "vitest";

import { accessible, faults, launch, open, picture } from "./browser.js";
import { Installation } from "./installation.js";

/** A receiver of deliveries, which takes none before it is well. */
class Receiver {
  well = false;
  /** Every `webhook-id` that has come. */
  readonly ids: string[] = [];
  private server: Server | undefined;

  /** Where it is, once it listens. */
  get url(): string {
    return `http://127.0.0.1:${(this.server?.address() as AddressInfo).port}/`;
  }

  async listen(): Promise<void> {
    const server = createServer((request, answer) => {
      this.ids.push(String(request.headers["webhook-id"]));
      request.resume();
      answer.writeHead(this.well ? 204 : 422, { "content-type": "application/json", "set-cookie": "session=1" });
      answer.end(this.well ? "" : '{"wrong":"not now"}');
    });
    this.server = server;
    await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  }

  async close(): Promise<void> {
    const { server } = this;
    this.server = undefined;
    if (!server) return;
    server.closeAllConnections();
    await new Promise((done) => server.close(done));
  }
}

const installation = new Installation();
/** What a system signs its calls with. */
const SECRET = "a-secret-of-the-stories-0123456789";
const receiver = new Receiver();
let browser: Browser;

beforeAll(async () => {
  [browser] = await Promise.all([launch(), installation.start(), receiver.listen()]);
});
afterAll(async () => {
  await browser?.close();
  await receiver.close();
  await installation.remove();
});

/** Signs in by the link, and waits until the tenant's places are known. */
async function signIn(page: Page): Promise<void> {
  await page.goto(installation.link);
  await page.getByRole("link", { name: "Webhooks" }).waitFor();
}

test("a webhook endpoint is made from the form, its secret is seen once, and what fails is delivered again", async () => {
  const { page, context, complaints } = await open(browser);
  await signIn(page);
  await page.keyboard.press("g");
  await page.keyboard.press("w");
  await page.getByRole("heading", { name: "Webhooks" }).waitFor();
  await page.getByText("There is none yet").waitFor();
  await accessible(page, "no webhooks");
  await page.getByRole("link", { name: "Create an endpoint" }).click();

  // All that is wrong is said at its field, by the server what only it knows.
  const create = page.getByRole("button", { name: "Create", exact: true });
  await create.click();
  await page.locator("#field-inputs\\.url-fault").getByText("is required").waitFor();
  await page.locator("#field-inputs\\.url").fill("ftp://receiver.example");
  await page.locator("#field-inputs\\.filter").fill("event.kind ==");
  await page.getByRole("button", { name: "Add to kinds" }).click();
  await page.getByLabel("kinds 1", { exact: true }).fill("Not a kind");
  await page.locator("#field-inputs\\.url-fault").getByText("http").waitFor();
  await page.locator("#field-inputs\\.filter-fault").waitFor();
  await page.locator(".item .fault").getByText("not a kind of event").waitFor();
  await accessible(page, "form of a webhook with faults");
  await picture(page, "webhook-faults");
  await page.locator("#field-inputs\\.url").fill(receiver.url);
  await page.locator("#field-inputs\\.name").fill("ops");
  await page.getByLabel("kinds 1", { exact: true }).fill("project.*");
  await page.locator("#field-inputs\\.filter").fill("event.kind != 'project.deleted'");
  await create.click();
  const shown = page.getByRole("region", { name: "Its secret" });
  const secret = (await shown.locator(".value").innerText()).trim();
  expect(secret).toMatch(/^whsec_/);
  expect(await page.evaluate((secret) => JSON.stringify([location.href, { ...sessionStorage, ...localStorage }]).includes(secret), secret)).toBe(false);
  await accessible(page, "secret of a webhook");
  await page.getByRole("link", { name: "Show the endpoint" }).click();
  await page.getByText("Nothing has been sent yet").waitFor();
  expect(await page.content()).not.toContain(secret);

  // What happens is seen to be tried without a reload.
  const { projects } = installation.client();
  await projects.updateProject({ project: { name: "tenants/acme/projects/shop", description: "The shop" }, updateMask: { paths: ["description"] } });
  const delivery = page.locator(".audit summary", { hasText: "project.updated" });
  await delivery.getByText("answered 422").waitFor();
  await delivery.click();
  const opened = page.locator(".delivery");
  await opened.locator(".attempt .fault").first().waitFor();
  await opened.getByLabel("Begin of the answer").getByText('"wrong": "not now"').first().waitFor();
  await opened.getByRole("row", { name: /masked .*set-cookie/ }).first().waitFor();
  await opened.getByLabel("Body of the request").getByText('"type": "project.updated"').waitFor();
  await accessible(page, "delivery that fails");
  expect(new URL(page.url()).searchParams.get("delivery")).toBeTruthy();
  receiver.well = true;
  await opened.getByRole("button", { name: "Redeliver" }).click();
  await delivery.getByText("answered 204").waitFor();
  await delivery.getByText("delivered").waitFor();
  expect(new Set(receiver.ids).size).toBe(1);
  // The address has the delivery that is open, and the state that is looked for.
  await page.reload();
  await opened.locator(".attempt").nth(1).waitFor();
  await delivery.click();
  await page.getByLabel("State of the deliveries").selectOption("failed");
  await page.getByText("None is in this state").waitFor();
  expect(page.url()).toMatch(/\?state=failed$/);

  // A receiver that is not there is an answer too.
  await receiver.close();

  await page.getByRole("button", { name: "Send a test", exact: true }).click();
  await page.getByRole("region", { name: "What came of the test" }).getByText("no answer").waitFor();
  await page.getByRole("button", { name: "Rotate the secret…" }).click();
  await page.getByRole("button", { name: "Make a new secret" }).click();
  const next = (await shown.locator(".value").innerText()).trim();
  expect(next).toMatch(/^whsec_/);
  expect(next).not.toBe(secret);
  await page.getByText("The secret before signs until").waitFor();
  await page.getByRole("button", { name: "Disable…" }).click();
  await page.getByRole("button", { name: "Disable", exact: true }).click();
  await page.getByText("disabled by platform/admin").waitFor();
  await accessible(page, "webhook that is disabled");
  await page.getByRole("button", { name: "Enable" }).click();
  await page.locator(".page-title .badge.good, .page-title .badge.bad").first().waitFor();
  expect(complaints).toEqual([]);
  await context.close();
});

test("a connection says whether it works, and what came in", async () => {
  const { page, context, complaints } = await open(browser);
  await signIn(page);
  await page.keyboard.press("g");
  await page.keyboard.press("c");
  await page.getByText("freehold connection create code github").waitFor();
  await accessible(page, "no connections");
  const { connections } = installation.client();
  const receive = { scheme: "hmac", header: "X-Signature", prefix: "sha256=", id_header: "X-Id", kind_from: "$.event" };
  const { connection } = await connections.createConnection({
    parent: "tenants/acme",
    connectionId: "code",
    connection: { connector: "webhook", settings: { url: "https://127.0.0.1:1/", receive }, credentials: { secret: SECRET, receive_secret: SECRET } },
  });
  // The list follows the stream of events.
  await page.locator("a.row", { hasText: "code" }).click();
  await page.getByText("It was never tested").waitFor();
  await page.getByRole("button", { name: "Test", exact: true }).click();
  await page.getByRole("region", { name: "Last test" }).locator(".badge").waitFor();
  await page.getByRole("region", { name: "Credentials" }).getByText("receive_secret").first().waitFor();
  expect(await page.content()).not.toContain(SECRET);
  await page.getByRole("button", { name: new RegExp(`copy address.*${connection?.inboundPath}`, "s") }).waitFor();

  const call = JSON.stringify({ event: "shop.opened", hours: 8 });
  const signed = { "content-type": "application/json", "x-id": "call-1", "x-signature": `sha256=${createHmac("sha256", SECRET).update(call).digest("hex")}` };
  const answer = await context.request.post(installation.origin + connection?.inboundPath, { data: call, headers: signed });
  expect(answer.ok(), await answer.text()).toBe(true);
  const message = page.locator(".audit summary", { hasText: "shop.opened" });
  await message.click();
  await page.getByRole("button", { name: "Show the payload" }).click();
  await page.getByLabel("Payload").getByText('"hours": 8').waitFor();
  await accessible(page, "message of a connection");
  await picture(page, "connection-message");

  await page.getByRole("button", { name: "Disable…" }).click();
  await page.getByLabel("Why").fill("moved to another host");
  await page.getByRole("button", { name: "Disable", exact: true }).click();
  await page.getByText("Moved to another host").or(page.getByText("moved to another host")).first().waitFor();
  await page.getByRole("button", { name: "Enable" }).click();
  await page.locator(".page-title .badge.good").waitFor();
  expect(complaints).toEqual([]);
  await context.close();
});

test("who may see a connection and not what came in is told so", async () => {
  const freehold = installation.client();
  await freehold.users.inviteUser({ parent: "tenants/acme", userId: "ada", user: { displayName: "Ada", email: "ada@shop.example" } });
  const member = "tenants/acme/users/ada";
  await freehold.access.createRoleBinding({ parent: "tenants/acme", roleBinding: { role: "roles/developer", member, resource: "tenants/acme" } });
  const expireTime = { seconds: BigInt(Math.floor(Date.now() / 1000) + 3600) };
  const { secret } = await freehold.apiKeys.createApiKey({ parent: "tenants/acme", apiKey: { displayName: "e2e", principal: member, expireTime } });
  const { page, context } = await open(browser);
  await page.goto(`${installation.origin}/t/acme/connections/code`);
  await page.getByLabel("API key").fill(secret);
  await page.keyboard.press("Enter");
  await page.getByText("You may not see these").waitFor();
  await page.getByRole("button", { name: "Test", exact: true }).click();
  await page.getByText("PERMISSION_MISSING").waitFor();
  await accessible(page, "connection for a developer");
  await page.getByRole("link", { name: "Webhooks" }).click();
  await page.getByRole("alert").getByText("PERMISSION_MISSING").waitFor();
  await context.close();
});

test("the pages of integrations are sound for everybody, in both colours, and are pictures to look at", async () => {
  const wrong: string[] = [];
  const { webhookDeliveries } = await installation.client().webhooks.listWebhookDeliveries({ parent: "tenants/acme/webhookEndpoints/ops" });
  const delivery = webhookDeliveries.at(-1)?.name.split("/").at(-1) ?? "";
  for (const scheme of ["light", "dark"] as const) {
    const { page, context, complaints } = await open(browser, scheme);
    await signIn(page);
    const pages: Record<string, [path: string, ready: string]> = {
      "tenant-integrations": ["/t/acme", ".quota"],
      webhooks: ["/t/acme/webhooks", "main .row"],
      "webhook-new": ["/t/acme/create-webhook", ".field"],
      webhook: [`/t/acme/webhooks/ops?delivery=${delivery}`, ".attempt"],
      "webhook-missing": ["/t/acme/webhooks/gone", ".error"],
      connections: ["/t/acme/connections", "main .row"],
      connection: ["/t/acme/connections/code", ".audit li"],
      "connection-missing": ["/t/acme/connections/gone", ".error"],
    };
    for (const [name, [path, ready]] of Object.entries(pages)) {
      await page.goto(installation.origin + path);
      await page.locator(ready).first().waitFor();
      wrong.push(...(await faults(page, `${name} (${scheme})`)));
      await picture(page, `${name}-${scheme}`);
    }
    expect(complaints).toEqual([]);
    await context.close();
  }
  expect(wrong, wrong.join("\n")).toEqual([]);
});
