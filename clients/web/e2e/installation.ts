import { Freehold } from "@freehold/client";
import { EnvironmentKind } from "@freehold/client/gen/freehold/tenants/v1/environment_pb";
import { createGrpcWebTransport } from "@connectrpc/connect-node";
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** How long anything may take to come true, in milliseconds. */
export const PATIENCE = 20_000;

/** `freehold dev --demo` on free ports, in a folder of its own. */
export class Installation {
  private readonly dir = mkdtempSync(join(tmpdir(), "freehold-e2e-"));
  private process: ChildProcess | undefined;
  private output = "";

  /** Starts it, with further options; once more on the same ports when it has run before. */
  async start(options: string[] = []): Promise<this> {
    const bin = process.env["FREEHOLD_BIN"];
    if (!bin || !existsSync(bin)) throw new Error("set FREEHOLD_BIN to the program: cargo build -p freehold-server, then target/debug/freehold");
    const before = this.addresses();
    const data = join(this.dir, "data");
    const args = ["dev", "--demo", "--data-dir", data, ...options];
    for (const name of ["api", "web", "runner", "admin", "state"]) args.push(`--${name}-addr`, before?.[name] ?? "127.0.0.1:0");
    this.output = "";
    const child = spawn(bin, args, { stdio: ["ignore", "pipe", "pipe"] });
    this.process = child;
    const take = (bytes: Buffer) => {
      this.output += bytes.toString();
    };
    child.stdout.on("data", take);
    child.stderr.on("data", take);
    await until("the server prints how to go on", () => {
      if (child.exitCode !== null) throw new Error(`the server ended:\n${this.output}`);
      return this.output.includes("Ctrl-C ends it.");
    });
    return this;
  }

  /** Ends it; its data stays. */
  async stop(): Promise<void> {
    const child = this.process;
    this.process = undefined;
    if (!child || child.exitCode !== null) return;
    this.kept ??= this.addresses();
    const ended = new Promise((done) => child.once("exit", done));
    child.kill("SIGTERM");
    const late = setTimeout(() => child.kill("SIGKILL"), 10_000);
    await ended;
    clearTimeout(late);
  }

  /** Ends it and forgets its data. */
  async remove(): Promise<void> {
    await this.stop();
    rmSync(this.dir, { recursive: true, force: true });
  }

  /** The link that signs in, as it was printed. */
  get link(): string {
    const link = /https:\/\/\S+\/#token=\S+/.exec(this.output)?.[0];
    if (!link) throw new Error(`no link was printed:\n${this.output}`);
    return link;
  }

  /** Address of the console. */
  get origin(): string {
    return new URL(this.link).origin;
  }

  /** A client with the rights of the link. */
  client(): Freehold {
    const ca = readFileSync(join(this.dir, "data/pki/ca.crt"));
    const token = new URL(this.link).hash.replace("#token=", "");
    const baseUrl = this.origin;
    return new Freehold({
      token,
      transport: (interceptors) => createGrpcWebTransport({ baseUrl, httpVersion: "1.1", nodeOptions: { ca }, interceptors }),
    });
  }

  private kept: Record<string, string> | undefined;

  private addresses(): Record<string, string> | undefined {
    if (this.kept) return this.kept;
    const ready = join(this.dir, "data/ready");
    if (!existsSync(ready)) return undefined;
    const lines = readFileSync(ready, "utf8").trim().split("\n");
    return Object.fromEntries(lines.map((line) => line.split("=") as [string, string]));
  }
}

/** Waits until it holds. */
export async function until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  const end = Date.now() + PATIENCE;
  while (!(await holds())) {
    if (Date.now() > end) throw new Error(`never happened: ${what}`);
    await new Promise((done) => setTimeout(done, 50));
  }
}

/** A blueprint that asks for every kind of input. */
const BLUEPRINT = `apiVersion: freehold.dev/v1
engine: native
description: Everything that can be asked for
inputs:
  type: object
  required: [title, size]
  properties:
    title: { type: string, minLength: 3, maxLength: 40, description: What it is called }
    size: { type: string, enum: [small, large], description: How large it is }
    replicas: { type: integer, minimum: 1, maximum: 9, default: 2 }
    ratio: { type: number, minimum: 0, maximum: 1, default: 0.5 }
    public: { type: boolean, default: false }
    network: { type: string, format: cidr, default: 10.0.0.0/16 }
    hosts: { type: array, items: { type: string, pattern: "^[a-z.]+$" }, default: [] }
    labels: { type: object, additionalProperties: { type: string }, default: {} }
    limits: { type: object, required: [cpu], properties: { cpu: { type: number }, memory: { type: string, format: quantity, default: 512Mi } } }
    token: { type: string, minLength: 12, sensitive: true }
  rules:
    - { when: "inputs.size == 'large'", require: "inputs.replicas >= 3", message: "large needs at least three replicas" }
resources:
  page: { type: file, path: "\${deployment.id}.txt", content: "\${inputs.title} \${inputs.size} \${inputs.replicas} \${size(inputs.hosts)} \${size(inputs.labels)}\\n" }
  pet: { type: random_pet, words: 2 }
outputs:
  page: { value: "\${resources.page.path}" }
`;

/** What the stories need: room for deployments, an environment that demands approvals, a blueprint that asks for everything. */
export async function prepare(installation: Installation): Promise<void> {
  const freehold = installation.client();
  await freehold.quotas.setQuotaLimit({ name: "tenants/acme/quotas/deployments", limit: 10n });
  await freehold.environments.createEnvironment({
    parent: "tenants/acme/projects/shop",
    environmentId: "stage",
    environment: { kind: EnvironmentKind.STAGING, requireApproval: true, allowSelfApproval: true },
  });
  const name = "tenants/acme/blueprints/everything";
  await freehold.blueprints.createBlueprint({ parent: "tenants/acme", blueprintId: "everything" });
  const files = [{ path: "blueprint.yaml", content: new TextEncoder().encode(BLUEPRINT) }];
  const { blueprintDraft } = await freehold.blueprints.updateBlueprintDraft({ blueprintDraft: { name: `${name}/draft`, files } });
  await freehold.blueprints.publishBlueprintVersion({ parent: name, version: "1.0.0", draftEtag: blueprintDraft?.etag ?? "" });
}
