import { render } from "preact";

import { App } from "./app.jsx";
import { comeBack } from "./lib/oidc.js";
import { resumeSession } from "./lib/session.js";
import { applyTheme } from "./lib/theme.js";
import "./styles/index.css";

applyTheme();
resumeSession();
void comeBack();
// A sign-in link that is opened where the console is already does not load the page anew.
addEventListener("hashchange", resumeSession);
const root = document.getElementById("app");
if (root) render(<App />, root);
