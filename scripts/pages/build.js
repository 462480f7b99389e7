// Bundles charts.js with the libraries that it uses into one script for the pages, as the global `Plot`.
//
// The script begins with what it was made of: the libraries with their versions, their licences, which ask for that,
// and a digest of this folder's files, by which a test notices a script that is out of date.
import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const target = join(here, "../../src/fipe_page/files/shared/charts.js");
const read = (...names) => readFileSync(join(here, ...names), "utf-8");

const bundled = await build({
  absWorkingDir: here,
  entryPoints: ["charts.js"],
  bundle: true,
  minify: true,
  format: "iife",
  globalName: "Plot",
  target: "es2020",
  charset: "utf8",
  legalComments: "none", // all licences are in the header
  metafile: true,
  write: false,
});

const used = Object.entries(Object.values(bundled.metafile.outputs)[0].inputs)
  .filter(([, input]) => input.bytesInOutput > 0)
  .map(([path]) => /^node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(path)?.[1])
  .filter(Boolean);
const libraries = [...new Set(used)].sort();
const name = (library) => `${library}@${JSON.parse(read("node_modules", library, "package.json")).version}`;

const holders = new Map();
for (const library of libraries) {
  const licence = read("node_modules", library, "LICENSE").trim();
  holders.set(licence, [...(holders.get(licence) ?? []), name(library)]);
}
const digest = createHash("sha256");
for (const file of ["package-lock.json", "charts.js", "build.js"]) digest.update(read(file));

const header = [
  "/*! Made by `make charts`; do not edit.",
  `digest ${digest.digest("hex")}`,
  ...[...holders].map(([licence, names]) => `\n${names.join(", ")}\n${licence}`),
  "*/",
].join("\n");
writeFileSync(target, `${header}\n${bundled.outputFiles[0].text}`);
