// Prints what happens below a resource, a line of JSON for each event and for each change of the stream, until it is ended. The
// stories of /tests compare it with what others see. It runs the built client, as other programs do:
//
//   npm --workspace client run build
//   FREEHOLD_API_KEY=… node scripts/watch.mjs https://127.0.0.1:7444 ca.crt tenants/acme 'project.*' [TOKEN]
import { createGrpcWebTransport } from "@connectrpc/connect-node";
import { connect } from "@freehold/client/core";
import { readFileSync } from "node:fs";

const [baseUrl, authority, parent, kind, resumeToken] = process.argv.slice(2);
const apiKey = process.env["FREEHOLD_API_KEY"];
if (!kind || !apiKey) {
  console.error("say URL, file of the authority, parent, kind and, if you have one, a token; FREEHOLD_API_KEY is the secret of an API key");
  process.exit(2);
}
const nodeOptions = { ca: readFileSync(authority) };
const transport = (interceptors) => createGrpcWebTransport({ baseUrl, httpVersion: "1.1", nodeOptions, interceptors });
const print = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);

const news = connect({ apiKey, transport }).watch({
  parent,
  kinds: [kind],
  ...(resumeToken && { resumeToken }),
  onState: (state) => print({ state }),
});
for await (const item of news) {
  if (item.type === "resync") print({ resync: item.why });
  else {
    const { uid, kind, resource, resourceUid, resourceVersion } = item.event;
    print({ event: { uid, kind, resource, resourceUid, resourceVersion: Number(resourceVersion) } });
  }
}
