// Bundles the libraries that the pages use: charts.js for both as the global `Plot`, the others as modules of the page.
//
// Each begins with what it was made of: the libraries with their versions, their licences, which ask for that, and a
// digest of this folder's files, by which a test notices a bundle that is out of date.
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const files = join(here, "../../src/fipe_page/files");
const read = (...names) => readFileSync(join(here, ...names), "utf-8");

const digest = createHash("sha256");
for (const file of ["package-lock.json", "charts.js", "build.js"]) digest.update(read(file));
const made = digest.digest("hex");

const asModule = (library) => ({
  stdin: { contents: `export { default } from "${library}";`, resolveDir: here },
  format: "esm",
});
const bundles = {
  "shared/charts.js": { entryPoints: ["charts.js"], format: "iife", globalName: "Plot" },
  "libraries/combobox.js": asModule("@github/combobox-nav"),
  "libraries/csv.js": asModule("papaparse"),
};
mkdirSync(join(files, "libraries"), { recursive: true });
for (const [target, options] of Object.entries(bundles)) {
  const bundled = await build({
    absWorkingDir: here,
    bundle: true,
    minify: true,
    target: "es2020",
    charset: "utf8",
    legalComments: "none", // all licences are in the header
    metafile: true,
    write: false,
    ...options,
  });
  writeFileSync(join(files, target), `${header(bundled.metafile)}\n${bundled.outputFiles[0].text}`);
}

function header(metafile) {
  const used = Object.entries(Object.values(metafile.outputs)[0].inputs)
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
  return [
    "/*! Made by `make charts`; do not edit.",
    `digest ${made}`,
    ...[...holders].map(([licence, names]) => `\n${names.join(", ")}\n${licence}`),
    "*/",
  ].join("\n");
}
