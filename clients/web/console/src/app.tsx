import type { ComponentChild } from "preact";
import { useEffect } from "preact/hooks";

import { forgetRuns } from "./lib/api.js";
import { forgetAnswers } from "./lib/query.js";
import { match, usePlace } from "./lib/router.jsx";
import { type Session, signedIn } from "./lib/session.js";
import { useStore } from "./lib/store.js";
import { Admin } from "./pages/admin.jsx";
import { Audit } from "./pages/audit.jsx";
import { BlueprintPage } from "./pages/blueprint.jsx";
import { Blueprints } from "./pages/blueprints.jsx";
import { Change } from "./pages/change.jsx";
import { ConnectionPage } from "./pages/connection.jsx";
import { Connections } from "./pages/connections.jsx";
import { Deploy } from "./pages/deploy.jsx";
import { DeploymentPage } from "./pages/deployment.jsx";
import { EnvironmentPage } from "./pages/environment.jsx";
import { Home } from "./pages/home.jsx";
import { NotFound } from "./pages/notfound.jsx";
import { ProjectPage } from "./pages/project.jsx";
import { RunPage } from "./pages/run.jsx";
import { SignIn } from "./pages/signin.jsx";
import { TenantPage } from "./pages/tenant.jsx";
import { WebhookPage } from "./pages/webhook.jsx";
import { NewWebhook } from "./pages/webhooknew.jsx";
import { Webhooks } from "./pages/webhooks.jsx";
import { Shell } from "./parts/shell.jsx";

type Params = Record<string, string>;

/** Names of resources from the parameters of a path. */
const named = {
  tenant: (at: Params) => `tenants/${at["tenant"]}`,
  project: (at: Params) => `${named.tenant(at)}/projects/${at["project"]}`,
  environment: (at: Params) => `${named.project(at)}/environments/${at["environment"]}`,
  deployment: (at: Params) => `${named.environment(at)}/deployments/${at["deployment"]}`,
  run: (at: Params) => `${named.deployment(at)}/runs/${at["run"]}`,
  blueprint: (at: Params) => `${named.tenant(at)}/blueprints/${at["blueprint"]}`,
  webhook: (at: Params) => `${named.tenant(at)}/webhookEndpoints/${at["webhook"]}`,
  connection: (at: Params) => `${named.tenant(at)}/connections/${at["connection"]}`,
};

const ENVIRONMENT = "/t/:tenant/p/:project/e/:environment";

/** Every address of the console, and the page that answers it. A page is made anew for another resource, and kept for a filter. */
const ROUTES: [pattern: string, page: (at: Params, session: Session) => ComponentChild][] = [
  ["/", (_, session) => <Home session={session} />],
  ["/admin", () => <Admin />],
  ["/audit", () => <Audit tenant="" />],
  ["/t/:tenant", (at) => <TenantPage name={named.tenant(at)} />],
  ["/t/:tenant/audit", (at) => <Audit tenant={at["tenant"] ?? ""} />],
  ["/t/:tenant/blueprints", (at) => <Blueprints tenant={named.tenant(at)} />],
  ["/t/:tenant/blueprints/:blueprint", (at) => <BlueprintPage name={named.blueprint(at)} />],
  ["/t/:tenant/webhooks", (at) => <Webhooks tenant={named.tenant(at)} />],
  ["/t/:tenant/webhooks/:webhook", (at) => <WebhookPage name={named.webhook(at)} />],
  ["/t/:tenant/create-webhook", (at) => <NewWebhook tenant={named.tenant(at)} />],
  ["/t/:tenant/connections", (at) => <Connections tenant={named.tenant(at)} />],
  ["/t/:tenant/connections/:connection", (at) => <ConnectionPage name={named.connection(at)} />],
  ["/t/:tenant/deploy", (at) => <Deploy tenant={named.tenant(at)} />],
  ["/t/:tenant/p/:project", (at) => <ProjectPage name={named.project(at)} />],
  [ENVIRONMENT, (at) => <EnvironmentPage name={named.environment(at)} />],
  [`${ENVIRONMENT}/d/:deployment`, (at) => <DeploymentPage name={named.deployment(at)} />],
  [`${ENVIRONMENT}/d/:deployment/change`, (at) => <Change name={named.deployment(at)} />],
  [`${ENVIRONMENT}/d/:deployment/runs/:run`, (at) => <RunPage name={named.run(at)} />],
];

/** The console: signing in, or the page of the address. */
export function App() {
  const who = useStore(signedIn);
  const { path } = usePlace();
  useEffect(() => {
    if (who.session) return;
    forgetAnswers();
    forgetRuns();
  }, [who]);
  if (!who.session) return <SignIn why={who.why} />;
  for (const [pattern, page] of ROUTES) {
    const at = match(pattern, path);
    if (at)
      return (
        <Shell session={who.session}>
          <div key={path} class="page">
            {page(at, who.session)}
          </div>
        </Shell>
      );
  }
  return (
    <Shell session={who.session}>
      <div key="none" class="page">
        <NotFound />
      </div>
    </Shell>
  );
}
