const PATHS = {
  home: "M3 11.500 12 4l9 7.500M6 10v10h12V10",
  tenant: "M4 20V6l8-3 8 3v14M9 20v-5h6v5M8.500 9h1M14.500 9h1M8.500 12h1M14.500 12h1",
  blueprint: "M12 3 3 8l9 5 9-5-9-5ZM3 12.500l9 5 9-5M3 17l9 5 9-5",
  webhook: "M3 12h12M10.500 7l5 5-5 5M20 4v16",
  connection: "M9 3v5M15 3v5M6 8h12v3a6 6 0 0 1-12 0V8ZM12 17v4",
  audit: "M7 3h10v18l-5-3-5 3V3ZM10 8h4M10 12h4",
  admin: "M4 5h16v6H4V5ZM4 13h16v6H4v-6ZM7.500 8h.01M7.500 16h.01",
  search: "M11 18a7 7 0 1 0 0-14 7 7 0 0 0 0 14ZM20.500 20.500 16 16",
  copy: "M9 9h11v11H9V9ZM5 15H4V4h11v1",
  check: "m5 12.500 4.500 4.500L19 7",
  cross: "M6 6l12 12M18 6 6 18",
  warn: "M12 4 2.500 20h19L12 4ZM12 10v4.500M12 17.300v.01",
  lock: "M6 11h12v9H6v-9ZM8.500 11V8a3.500 3.500 0 0 1 7 0v3",
  theme: "M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18ZM12 3v18M12 7l5-2M12 12h9M12 17l5 2",
  keys: "M3 7h18v11H3V7ZM7 11h.01M11 11h.01M15 11h.01M8 15h8",
  leave: "M14 4H5v16h9M10 12h11M17.500 8.500 21 12l-3.500 3.500",
  down: "m6 9 6 6 6-6",
  plus: "M12 5v14M5 12h14",
} as const;

/** Names of the pictures. */
export type IconName = keyof typeof PATHS;

/** A picture beside a word, or instead of one that the control around it says. */
export function Icon({ name }: { name: IconName }) {
  return (
    <svg class="icon" viewBox="0 0 24 24" aria-hidden="true" focusable="false">
      <path d={PATHS[name]} />
    </svg>
  );
}

/** Shapes that say a state without its colour. */
export type Tone = "good" | "bad" | "wait" | "work" | "idle";

const SHAPES: Record<Tone, string> = {
  good: "M8 1.200a6.800 6.800 0 1 0 0 13.600A6.800 6.800 0 0 0 8 1.200Zm3.800 5-4.500 4.800L4.400 8.300l1-1 1.900 1.800 3.500-3.900 1 1Z",
  bad: "M5.200 1.200h5.600l4 4v5.600l-4 4H5.200l-4-4V5.200l4-4Zm5.600 4.900-1-1L8 7 6.200 5.100l-1 1L7 8 5.200 9.900l1 1L8 9l1.800 1.900 1-1L9 8l1.800-1.900Z",
  wait: "M8 .800 15.200 8 8 15.200.800 8 8 .800Zm-2 4.700v5h1.400v-5H6Zm2.600 0v5H10v-5H8.600Z",
  work: "M8 1.200a6.800 6.800 0 1 0 0 13.600A6.800 6.800 0 0 0 8 1.200Zm0 1.600a5.200 5.200 0 1 1 0 10.400A5.200 5.200 0 0 1 8 2.800Zm0 2.400a2.800 2.800 0 1 0 0 5.600 2.800 2.800 0 0 0 0-5.600Z",
  idle: "M8 1.200a6.800 6.800 0 1 0 0 13.600A6.800 6.800 0 0 0 8 1.200Zm3.500 7.600h-7V7.200h7v1.600Z",
};

/** The shape of a state. */
export function Shape({ tone }: { tone: Tone }) {
  return (
    <svg class={`shape ${tone}`} viewBox="0 0 16 16" aria-hidden="true" focusable="false">
      <path d={SHAPES[tone]} />
    </svg>
  );
}
