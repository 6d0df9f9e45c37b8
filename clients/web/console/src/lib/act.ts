import type { FreeholdError } from "@freehold/client/core";
import { useState } from "preact/hooks";

import { noticeError } from "./session.js";

/** Something that a button does. */
export interface Act {
  readonly busy: boolean;
  readonly error: FreeholdError | undefined;
  /** Does it, one at a time; what it failed with is kept until the next. */
  readonly run: (work: () => Promise<void>) => Promise<void>;
}

/** What the buttons of a part of a page do. */
export function useAct(): Act {
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<FreeholdError>();
  const run = async (work: () => Promise<void>) => {
    setBusy(true);
    setError(undefined);
    try {
      await work();
    } catch (thrown) {
      setError(noticeError(thrown));
    } finally {
      setBusy(false);
    }
  };
  return { busy, error, run };
}
