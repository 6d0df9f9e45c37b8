import { type Plugin, defineConfig } from "vite";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";

/** Puts the compressed forms beside every file, so that the server has nothing to compute. */
function compressed(): Plugin {
  return {
    name: "compressed",
    apply: "build",
    enforce: "post",
    generateBundle: {
      order: "post",
      handler(_, bundle) {
        for (const [fileName, file] of Object.entries(bundle)) {
          const source = file.type === "chunk" ? file.code : file.source;
          const bytes = Buffer.from(source);
          const params = { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length };
          this.emitFile({ type: "asset", fileName: `${fileName}.br`, source: brotliCompressSync(bytes, { params }) });
          this.emitFile({ type: "asset", fileName: `${fileName}.gz`, source: gzipSync(bytes, { level: 9 }) });
        }
      },
    },
  };
}

export default defineConfig({
  resolve: { conditions: ["source", "module", "browser"] },
  build: {
    outDir: process.env["FREEHOLD_CONSOLE_OUT"] ?? "../dist",
    emptyOutDir: true,
    target: "es2022",
    assetsInlineLimit: 0,
    modulePreload: false,
    reportCompressedSize: false,
  },
  // `npm run dev` serves the sources; calls go on to a real server.
  server: { proxy: { "^/freehold\\.": { target: process.env["FREEHOLD_WEB"] ?? "https://127.0.0.1:7444", secure: false } } },
  plugins: [compressed()],
});
