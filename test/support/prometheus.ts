import { spawnSync } from 'node:child_process'

export interface Family {
  kind: string
  help: string
  samples: [name: string, labels: Record<string, string>, value: number][]
}

/** The result of the parser in Prometheus's own Python client. */
export function parsePrometheus(text: string): Map<string, Family> {
  const program = `import sys,json
from prometheus_client.parser import text_string_to_metric_families as families
print(json.dumps([[f.name,f.type,f.documentation,[[s.name,s.labels,s.value] for s in f.samples]] for f in families(sys.stdin.read())]))`
  const { stdout, stderr, status } = spawnSync('/usr/bin/python3', ['-c', program], { input: text, encoding: 'utf8' })
  if (status !== 0) throw new Error(`Prometheus's parser fails (scripts/setup-tools.sh installs it): ${stderr}`)
  const families = JSON.parse(stdout) as [string, string, string, Family['samples']][]
  return new Map(families.map(([name, kind, help, samples]) => [name, { kind, help, samples }]))
}

/** The sum of the samples that have these labels. */
export function sumOf(families: Map<string, Family>, name: string, labels: Record<string, string> = {}): number {
  const family = families.get(name)
  if (!family) throw new Error(`there is no family ${name}`)
  const has = ([, its]: Family['samples'][number]) => Object.entries(labels).every(([label, value]) => its[label] === value)
  return family.samples.filter(has).reduce((sum, [, , value]) => sum + value, 0)
}
