#!/usr/bin/env node
import { main } from '@multireactor/core/cli'

process.exitCode = await main(process.argv.slice(2), { fetchAdapter: import.meta.resolve('@multireactor/http/adapter') })
