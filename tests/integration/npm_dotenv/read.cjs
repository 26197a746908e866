// Reads a JSON list of paths from standard input and prints what npm's dotenv reads in each.
const fs = require("node:fs");
const { parse } = require("dotenv");

const paths = JSON.parse(fs.readFileSync(0, "utf8"));
process.stdout.write(JSON.stringify(paths.map((path) => parse(fs.readFileSync(path)))));
