// A list of vehicles as people have it: a table from a spreadsheet, a CSV file, or lines with a code and a year.
import Papa from "./libraries/csv.js";

/** What columns are called, in letters and digits only; the first that a list has counts. */
export const NAMES = {
  code: [
    "codigofipe", "fipecode", "codfipe", "cdfipe", "codigodafipe", "codigotabelafipe", "idfipe", "fipeid",
    "fipe", "codigo", "cod", "code",
  ],
  year: [
    "anomodelo", "modelyear", "anodomodelo", "anomod", "yearmodel", "anofabricacaomodelo", "anofabmodelo",
    "anofabmod", "ano", "year",
  ],
  fuel: [
    "combustivel", "fuel", "fueltype", "tipocombustivel", "tipodecombustivel", "siglacombustivel",
    "codigocombustivel", "fuelcode", "comb",
  ],
}; // prettier-ignore

const CODE = /^\s*\d{1,6}\s*-?\s*\d\s*$/;
const YEAR = /^\s*((19|20)\d{2}(\/(19|20)\d{2})?|0\s*km|zero(\s*km)?|32000)\s*$/i;

const plain = (text) =>
  text
    .normalize("NFD")
    .toLowerCase()
    .replace(/[^a-z0-9]/g, "");

/** The vehicles of a list; `label` is the first cell that is none of the others, such as a plate. */
export function vehiclesOf(text) {
  const rows = Papa.parse(text.trim(), {
    skipEmptyLines: "greedy",
    delimitersToGuess: [",", ";", "\t", "|", " "],
  }).data;
  if (!rows.length) return [];
  const named = columnsNamed(rows[0]);
  const columns = named ?? columnsFound(rows[0]);
  const cell = (row, place) => (place < 0 ? "" : (row[place] ?? "").trim());
  const label = rows[0].findIndex((_, place) => !Object.values(columns).includes(place));
  return rows.slice(named ? 1 : 0).map((row) => ({
    code: cell(row, columns.code),
    year: cell(row, columns.year),
    fuel: cell(row, columns.fuel),
    label: cell(row, label),
  }));
}

/** The places of the columns by the names in the heading; undefined if it is no heading. */
function columnsNamed(heading) {
  const names = heading.map(plain);
  const place = (field) => {
    const name = NAMES[field].find((each) => names.includes(each));
    return name === undefined ? -1 : names.indexOf(name);
  };
  const found = { code: place("code"), year: place("year"), fuel: place("fuel") };
  return found.code < 0 ? undefined : found;
}

/** The places of the columns by what the first row has: a code, then a year, then perhaps a fuel. */
function columnsFound(row) {
  const year = row.findIndex((each) => YEAR.test(each));
  const codes = row
    .map((each, place) => (CODE.test(each) && place !== year ? place : -1))
    .filter((place) => place >= 0);
  const code = codes[0] ?? 0;
  const next = Math.max(code, year) + 1;
  return { code, year, fuel: next < row.length ? next : -1 };
}

/** The vehicles in few characters, for an address; without labels, which may be plates. */
export const packed = (vehicles) =>
  vehicles
    .map(({ code, year, fuel }) => [code, year, fuel].map(encodeURIComponent).join(",").replace(/,$/, ""))
    .join(";");

/** The vehicles of an address. */
export const unpacked = (text) =>
  text
    .split(";")
    .filter(Boolean)
    .map((each) => {
      const [code = "", year = "", fuel = ""] = each.split(",").map(decode);
      return { code, year, fuel, label: "" };
    });

function decode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** The text of a file: UTF-8 or UTF-16, or what Excel in Brazil writes. */
export function textOf(bytes) {
  const [first, second] = bytes;
  if ((first === 0xff && second === 0xfe) || (first === 0xfe && second === 0xff))
    return new TextDecoder(first === 0xff ? "utf-16le" : "utf-16be").decode(bytes);
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    return new TextDecoder("windows-1252").decode(bytes);
  }
}
