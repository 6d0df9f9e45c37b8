import Provider from "oidc-provider";
import type { Browser, Page } from "playwright-core";
import { type Server, createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, expect, test } from "vitest";

import { accessible, launch, open, picture } from "./browser.js";
import { Installation, until } from "./installation.js";

/** Who has an account. */
const ADA = { subject: "ada", email: "ada@acme.example" };
const CLIENT = "freehold-console";

/** A provider on this machine. Its port is known before the server is started with its name, and what it answers afterwards. */
class IdentityProvider {
  /** Calls of its token endpoint and of revocation, by path. */
  readonly calls: string[] = [];
  private readonly server: Server = createServer();

  async listen(): Promise<void> {
    await new Promise<void>((done) => this.server.listen(0, "127.0.0.1", done));
  }

  get issuer(): string {
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  /** Lets people be sent back to the console at this address. */
  serve(origin: string): void {
    const client = {
      client_id: CLIENT,
      token_endpoint_auth_method: "none",
      redirect_uris: [`${origin}/signin`],
      grant_types: ["authorization_code", "refresh_token"],
      response_types: ["code"],
    };
    const provider = new Provider(this.issuer, {
      clients: [client],
      claims: { openid: ["sub"], email: ["email", "email_verified"], profile: ["name"] },
      features: { devInteractions: { enabled: true }, revocation: { enabled: true } },
      findAccount: (_: unknown, subject: string) => ({
        accountId: subject,
        claims: () => ({ sub: subject, name: "Ada", email: subject === ADA.subject ? ADA.email : `${subject}@elsewhere.example`, email_verified: true }),
      }),
      cookies: { keys: ["not a secret"] },
    });
    const answer = provider.callback();
    this.server.on("request", (request, response) => {
      if (request.method === "POST") this.calls.push(request.url ?? "");
      answer(request, response);
    });
  }

  asked(path: string): number {
    return this.calls.filter((call) => call === path).length;
  }

  async close(): Promise<void> {
    const closed = new Promise((done) => this.server.close(done));
    this.server.closeAllConnections();
    await closed;
  }
}

const installation = new Installation();
const provider = new IdentityProvider();
let browser: Browser;

beforeAll(async () => {
  await provider.listen();
  const options = ["--oidc-issuer", provider.issuer, "--oidc-client-id", CLIENT];
  [browser] = await Promise.all([launch(), installation.start(options)]);
  provider.serve(installation.origin);
  const freehold = installation.client();
  await freehold.users.inviteUser({ parent: "tenants/acme", userId: "ada", user: { displayName: "Ada", email: ADA.email } });
  const member = "tenants/acme/users/ada";
  await freehold.access.createRoleBinding({ parent: "tenants/acme", roleBinding: { role: "roles/viewer", member, resource: "tenants/acme" } });
});
afterAll(async () => {
  await browser?.close();
  await installation.remove();
  await provider.close();
});

/** Goes to the provider and signs in there as this account. */
async function authenticate(page: Page, account: string): Promise<void> {
  await page.getByRole("button", { name: /^Sign in with 127/ }).click();
  await page.locator("input[name=login]").fill(account);
  await page.locator("input[name=password]").fill("any");
  await page.locator("button[type=submit]").click();
  // What is granted is shown.
  await page.locator("button[type=submit]", { hasText: "Continue" }).click();
}

const kept = (page: Page, key: string) => page.evaluate((key) => sessionStorage.getItem(key), key);

test("a person signs in by the provider, stays signed in, and signs out", async () => {
  const { page, context, complaints } = await open(browser);
  await page.clock.install();
  await page.goto(`${installation.origin}/t/acme/p/shop?q=x`);
  const tenant = page.getByLabel("Tenant");
  await tenant.waitFor();
  // The address has the tenant already.
  expect(await tenant.inputValue()).toBe("acme");
  await until("the cursor is where something is asked first", () => tenant.evaluate((input) => document.activeElement === input));
  await authenticate(page, ADA.subject);
  // Where the address led before, and nothing of the way is in it or in the history.
  await page.getByRole("heading", { name: "Web shop" }).waitFor();
  // The provider's own pages ask for a font from elsewhere.
  complaints.length = 0;
  expect(page.url()).toBe(`${installation.origin}/t/acme/p/shop?q=x`);
  const { entries } = await (await context.newCDPSession(page)).send("Page.getNavigationHistory");
  expect(entries.map(({ url }) => url).filter((url) => url.startsWith(installation.origin) && url.includes("code="))).toEqual([]);
  const [token, refresh] = [await kept(page, "freehold.token"), await kept(page, "freehold.refresh-token")];
  expect(token && refresh).toBeTruthy();
  expect(await kept(page, "freehold.sign-in")).toBeNull();
  const { user } = await installation.client().users.getUser({ name: "tenants/acme/users/ada" });
  expect(user?.identity).toMatchObject({ issuer: provider.issuer, subject: ADA.subject });

  // A page that is loaded anew goes on without asking.
  const asked = provider.asked("/token");
  await page.reload();
  await page.getByRole("heading", { name: "Web shop" }).waitFor();
  expect(provider.asked("/token")).toBe(asked);
  // The token is renewed in time, by the provider's word, and what renews it is another one.
  await page.clock.fastForward("13:00");
  await page.getByRole("link", { name: "Blueprints" }).click();
  await page.getByRole("heading", { name: "Blueprints" }).waitFor();
  await until("the token is another one", async () => (await kept(page, "freehold.token")) !== token);
  expect(await kept(page, "freehold.refresh-token")).not.toBe(refresh);
  expect(provider.asked("/token")).toBe(asked + 1);

  await page.getByRole("button", { name: "Sign out" }).click();
  await page.getByLabel("API key").waitFor();
  expect(await page.evaluate(() => sessionStorage.length)).toBe(0);
  await until("the provider has forgotten the sign-in", () => provider.asked("/token/revocation") === 1);
  expect(complaints).toEqual([]);
  await context.close();
});

test("who is nobody here is told so, a way back that was not begun leads nowhere, and the page is sound in both colours", async () => {
  for (const scheme of ["light", "dark"] as const) {
    const { page, context } = await open(browser, scheme);
    await page.goto(`${installation.origin}/signin?code=stolen&state=somebody-elses`);
    await page.getByText("was not begun in this tab").waitFor();
    expect(page.url()).toBe(`${installation.origin}/`);
    await page.getByLabel("Tenant").fill("acme");
    await accessible(page, `sign in by a provider (${scheme})`);
    await picture(page, `signin-provider-${scheme}`);
    await authenticate(page, `stranger-${scheme}`);
    await page.getByText("signs nobody in to this tenant").waitFor();
    expect(await page.evaluate(() => sessionStorage.length)).toBe(0);
    await accessible(page, `sign in that was refused (${scheme})`);
    await picture(page, `signin-refused-${scheme}`);
    await context.close();
  }
});
