#!/usr/bin/env node
/** The command line: `sparseprobe <command>`. */
export {};
