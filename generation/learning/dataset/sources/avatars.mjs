// Draws one avatar for each set of options that comes in, and writes the SVGs in the same order.
import { readFileSync, writeFileSync } from "node:fs";

const [style, input, output] = process.argv.slice(2);
const { createAvatar } = await import("@dicebear/core");
const drawing = await import(style);
const svgs = JSON.parse(readFileSync(input, "utf8")).map((options) =>
  createAvatar(drawing, options).toString(),
);
writeFileSync(output, JSON.stringify(svgs));
