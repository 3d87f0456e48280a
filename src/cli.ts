#!/usr/bin/env node
/** The command line: `sparseprobe <command>`. */
import { runCommandLine } from "./cli/main.ts";

void runCommandLine(process);
