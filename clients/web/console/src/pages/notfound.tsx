import { Link } from "../lib/router.jsx";
import { Page } from "../parts/ui.jsx";

/** An address that leads nowhere. */
export function NotFound() {
  return (
    <Page title="There is no such page">
      <p>
        The address may have been cut off when it was copied. <Link to="/">Home</Link> has what waits for you, and <kbd>/</kbd> searches.
      </p>
    </Page>
  );
}
