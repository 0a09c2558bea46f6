// What Discord's own client does and the look-alike does not, done from outside through its page
// alone: a command typed or pasted in one go is a command, the newest message is in sight, and
// Enter is kept while the page is busy.

const WAIT_MS = 10_000;
const POLL_MS = 30;
// "/log search fox" before "/imagine fox": the command, then whitespace, then the rest.
const SHAPES = [/^(\/\S+ \S+)\s+(.*)$/s, /^(\/\S+)\s+(.*)$/s];

const composer = document.getElementById("channel-composer");
const box = document.getElementById("channel-composer-input");
const timeline = document.getElementById("channel-timeline");
const messages = document.getElementById("channel-message-list");

async function until(condition) {
  for (const end = Date.now() + WAIT_MS; !condition() && Date.now() < end; ) {
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

function write(field, text) {
  field.value = text;
  field.dispatchEvent(new InputEvent("input", { bubbles: true }));
}

// Commands

let isWriting = false; // our own words in the box, not the visitor's

function offered(command) {
  return [...composer.querySelectorAll(".command-entry")].find(
    (entry) => entry.querySelector("strong")?.textContent === command.toLowerCase(),
  );
}

/**
 * Turn "/imagine a fox" into the chosen command with its first option filled in.
 *
 * isWhole: no further key will come, so a command needs no space behind it.
 * Returns what followed the command, or null where there is none.
 */
function choose(text, isWhole) {
  for (const shape of SHAPES) {
    const [, command, rest] = shape.exec(isWhole ? `${text} ` : text) ?? [];
    if (!command) continue;
    write(box, command);
    const entry = offered(command);
    if (!entry) continue;
    entry.click();
    const option = composer.querySelector(".command-option-input");
    if (rest && option) {
      const name = new RegExp(`^${option.dataset.option}:\\s*`); // "/imagine prompt: a fox"
      write(option, rest.trimEnd().replace(name, ""));
    } else if (rest) {
      composer.querySelector(".command-ghost")?.click(); // which option is it for?
    }
    return rest;
  }
  write(box, text);
  return null;
}

function chooseQuietly(isWhole) {
  isWriting = true;
  try {
    return choose(box.value, isWhole);
  } finally {
    isWriting = false;
  }
}

async function run() {
  await until(() => window.simcordPreview.ready);
  composer.requestSubmit();
}

async function runTyped() {
  await until(() => !composer.querySelector(".command-empty")); // the list of commands is loading
  const rest = chooseQuietly(true);
  if (rest === null) {
    box.setCustomValidity("There is no such command. Type / to see them all.");
    box.reportValidity();
    return;
  }
  const option = composer.querySelector(".command-option-input");
  if (option ? option.value : !rest) await run();
}

document.addEventListener("input", (event) => {
  if (event.target !== box || isWriting) return;
  box.setCustomValidity("");
  const isOffering = composer.querySelector(".command-entry") !== null;
  const isAtSpace = /\s$/.test(box.value);
  if (/^\/\S.*\s/s.test(box.value) && (isAtSpace || !isOffering)) chooseQuietly(false);
});

document.addEventListener(
  "keydown",
  (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    const { target } = event;
    const isOpenList = composer.querySelector(".command-entry") && !offered(box.value.trim());
    const isTyped = target === box && box.value.startsWith("/") && !isOpenList;
    const isEarly =
      composer.contains(target) &&
      target.matches(".command-option-input, .command-chip") &&
      !window.simcordPreview.ready;
    if (!isTyped && !isEarly) return;
    event.preventDefault();
    event.stopPropagation();
    void (isTyped ? runTyped() : run());
  },
  { capture: true },
);

// The newest message

const SETTLING_MS = 1_000; // after a change the look-alike scrolls by itself, to where one was

let newest = 0n;
let isFollowing = true;
let settledAt = 0;

function isAtEnd() {
  return timeline.scrollHeight - timeline.scrollTop - timeline.clientHeight < 2;
}

function follow() {
  if (!isFollowing) return;
  settledAt = Date.now() + SETTLING_MS;
  timeline.scrollTop = timeline.scrollHeight;
}

new MutationObserver(() => {
  const last = BigInt(messages.lastElementChild?.dataset.messageId ?? 0);
  if (last > newest) [newest, isFollowing] = [last, true];
  follow();
}).observe(messages, { childList: true });
new ResizeObserver(follow).observe(messages);
timeline.addEventListener("scroll", () => {
  if (Date.now() > settledAt) isFollowing = isAtEnd();
  else if (isFollowing && !isAtEnd()) timeline.scrollTop = timeline.scrollHeight;
});
for (const hand of ["wheel", "touchmove", "pointerdown"]) {
  timeline.addEventListener(hand, () => (settledAt = 0), { passive: true });
}
document.getElementById("viewer-picker").addEventListener("change", () => (newest = 0n));
