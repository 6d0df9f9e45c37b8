// Proves that what is checked in is what the sources make: the generated messages, and the built console with its compressed forms.
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { brotliDecompressSync, gunzipSync } from "node:zlib";

const web = dirname(dirname(fileURLToPath(import.meta.url)));
const made = mkdtempSync(join(tmpdir(), "freehold-web-"));
const faults = [];

try {
  const run = (cwd, program, args, env = {}) =>
    execFileSync(join(web, "node_modules/.bin", program), args, { cwd, env: { ...process.env, ...env }, stdio: ["ignore", "ignore", "inherit"] });
  run(join(web, "client"), "buf", ["generate", "--template", "buf.gen.yaml", "--output", made, "../../../proto"]);
  same(join(web, "client/src/gen"), join(made, "src/gen"), "npm run generate");
  run(join(web, "console"), "vite", ["build", "--logLevel", "error"], { FREEHOLD_CONSOLE_OUT: join(made, "dist") });
  same(join(web, "dist"), join(made, "dist"), "npm run build");
} finally {
  rmSync(made, { recursive: true, force: true });
}

if (faults.length > 0) {
  console.error(faults.join("\n"));
  process.exit(1);
}

/** Compares two folders. Compressed files are compared by what is in them: other versions of a library compress otherwise. */
function same(kept, fresh, command) {
  const [old, young] = [list(kept), list(fresh)];
  const differs = (name) => !content(join(kept, name)).equals(content(join(fresh, name)));
  for (const name of new Set([...old, ...young])) {
    const path = relative(web, join(kept, name));
    if (!young.includes(name)) faults.push(`${path} is made by nothing any more; run ${command}`);
    else if (!old.includes(name)) faults.push(`${path} is missing; run ${command}`);
    else if (differs(name)) faults.push(`${path} is not what its sources make; run ${command}`);
  }
}

function content(file) {
  const bytes = readFileSync(file);
  if (file.endsWith(".br")) return brotliDecompressSync(bytes);
  return file.endsWith(".gz") ? gunzipSync(bytes) : bytes;
}

function list(folder) {
  const entries = readdirSync(folder, { recursive: true, withFileTypes: true });
  return entries.filter((entry) => entry.isFile()).map((entry) => relative(folder, join(entry.parentPath, entry.name)));
}
