// Compiles the Python code of layers for the functions' Python: node compile.mjs FOLDER ...
// Lambda cannot keep what Python compiles, so without this each cold start compiles it again. Python uses these
// files without a look at the sources, whose times a zip does not keep ("unchecked hash", PEP 552).
import { resolve } from "node:path";
import { loadPyodide } from "pyodide";

const python = await loadPyodide({ env: { PYTHONHASHSEED: "0" } });
for (const folder of process.argv.slice(2)) {
  python.FS.mkdirTree("/opt");
  python.FS.mount(python.FS.filesystems.NODEFS, { root: resolve(folder) }, "/opt");
  const isCompiled = python.runPython(`
import compileall, py_compile
compileall.compile_dir("/opt", quiet=1, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
  `);
  python.FS.unmount("/opt");
  if (!isCompiled) process.exit(1);
}
