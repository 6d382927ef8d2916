// The command line, which makes the same pictures and files natively.

import { execFile } from "node:child_process";
import { promisify } from "node:util";

export async function admix(...words) {
  const program = process.env.ADMIX_BIN;
  if (!program) throw new Error("ADMIX_BIN names no program");
  const { stdout } = await promisify(execFile)(program, words, { maxBuffer: 64 << 20 });
  return stdout;
}
