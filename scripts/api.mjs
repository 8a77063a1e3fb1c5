// The public interface: every exported name of the public entry of every package, with its signature and its members, from the built
// declarations. docs/api holds it; `--write` renews that, and a test compares. Names and members without a docstring are told, too.
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { API } from 'typescript/unstable/sync'
import { SyntaxKind } from 'typescript/unstable/ast'
import { root, whenMain } from './lib.mjs'

export const publicPackages = ['reactor', 'pool', 'codecs', 'core', 'http', 'multireactor']
const folderOf = (name) => (name === '@multireactor/addon' ? 'addon' : join('packages', name.replace('@multireactor/', '')))
const ours = /^(@multireactor\/[\w-]+|multireactor)(\/[\w-]+)?$/

/** Reads declaration files as they are: nothing is resolved or checked. */
class Declarations {
  #api = new API({ cwd: root })
  #program

  constructor() {
    const files = ['addon', ...publicPackages.map((name) => join('packages', name))].flatMap((folder) =>
      readdirSync(join(root, folder, 'dist'))
        .filter((name) => name.endsWith('.d.ts'))
        .map((name) => join(folder, 'dist', name)),
    )
    const config = join(root, '.cache/api/tsconfig.json')
    mkdirSync(dirname(config), { recursive: true })
    const compilerOptions = { module: 'NodeNext', noEmit: true, noLib: true, noResolve: true, types: [], skipLibCheck: true }
    writeFileSync(config, JSON.stringify({ compilerOptions, files: files.map((path) => join(root, path)) }))
    this.#program = this.#api.updateSnapshot({ openProject: config }).getProject(config).program
  }

  file(path) {
    return this.#program.getSourceFile(join(root, path))
  }

  close() {
    this.#api.close()
  }

  /** Where a module that `path` names lies; nothing for those of others. */
  target(path, module) {
    if (module.startsWith('.')) return join(dirname(path), module.replace(/\.js$/, '.d.ts'))
    const [, name, entry = ''] = module.match(ours) ?? []
    if (name === undefined) return undefined
    const folder = folderOf(name)
    const { types } = JSON.parse(readFileSync(join(root, folder, 'package.json'), 'utf8')).exports[`.${entry}`]
    return join(folder, types)
  }

  /** The declarations of a name in a file, wherever they stand: [{ path, node }]. */
  find(path, name) {
    const found = []
    for (const node of this.file(path).statements) {
      const names =
        node.kind === SyntaxKind.VariableStatement
          ? node.declarationList.declarations.map((one) => one.name.text)
          : [node.name?.text]
      if (names.includes(name)) found.push({ path, node })
      const module = node.moduleSpecifier?.text
      const specifiers = node.exportClause?.elements ?? node.importClause?.namedBindings?.elements ?? []
      for (const one of specifiers) {
        if (one.name.text !== name || module === undefined) continue
        const target = this.target(path, module)
        if (target) found.push(...this.find(target, (one.propertyName ?? one.name).text))
      }
      if (
        node.kind === SyntaxKind.ExportDeclaration &&
        !node.exportClause &&
        module &&
        this.exported(this.target(path, module)).includes(name)
      ) {
        found.push(...this.find(this.target(path, module), name))
      }
    }
    return found
  }

  /** The names that a file exports. */
  exported(path) {
    const names = []
    for (const node of this.file(path).statements) {
      if (node.kind === SyntaxKind.ExportDeclaration) {
        if (node.exportClause) names.push(...node.exportClause.elements.map((one) => one.name.text))
        else names.push(...this.exported(this.target(path, node.moduleSpecifier.text)))
      } else if (node.modifiers?.some(({ kind }) => kind === SyntaxKind.ExportKeyword)) {
        if (node.kind === SyntaxKind.VariableStatement)
          names.push(...node.declarationList.declarations.map((one) => one.name.text))
        else names.push(node.name.text)
      }
    }
    return [...new Set(names)]
  }
}

const oneLine = (text) =>
  text
    .replace(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, '')
    .replace(/\s+/g, ' ')
    .replace(/^export (declare )?|^declare /, '')
    .replace(/;$/, '')
    .trim()

// Streams of Node call `_read` and its siblings; a code of errorCodes is its own docstring.
const isHidden = (member) =>
  member.name?.text?.startsWith('_') ||
  member.name?.kind === SyntaxKind.PrivateIdentifier ||
  member.modifiers?.some(({ kind }) => kind === SyntaxKind.PrivateKeyword)

/** The part before the members, the members, and the base types. */
function partsOf(file, node) {
  const text = node.getText(file)
  const literal =
    node.kind === SyntaxKind.VariableStatement
      ? node.declarationList.declarations[0].type
      : node.kind === SyntaxKind.TypeAliasDeclaration
        ? node.type
        : node
  const members = literal?.members
  if (!members) return { head: oneLine(text), members: [], bases: [] }
  const head = oneLine(file.text.slice(node.getStart(file), members.pos)).replace(/\s*\{$/, '')
  const bases = (node.heritageClauses ?? []).flatMap(({ types }) =>
    types.map(({ expression }) => expression.text).filter(Boolean),
  )
  return { head, members: [...members].filter((one) => !isHidden(one)), bases }
}

/** { snapshots: Map(package, text), undocumented: [name], counted } */
export function readApi() {
  const declarations = new Declarations()
  const snapshots = new Map()
  const undocumented = new Set()
  const counted = new Set()
  const home = new Map()
  const check = (where, node) => {
    counted.add(where)
    if (!node.jsDoc?.length) undocumented.add(where)
  }
  try {
    for (const folder of publicPackages) {
      const entry = join('packages', folder, 'dist/index.d.ts')
      const { name: packageName } = JSON.parse(readFileSync(join(root, 'packages', folder, 'package.json'), 'utf8'))
      const lines = [`${packageName}`, '']
      const names = declarations.exported(entry).sort()
      for (const name of names) {
        const found = declarations.find(entry, name)
        if (found.length === 0) throw new Error(`${packageName}: ${name} is exported, and declared nowhere`)
        const { path, node } = found[0]
        const key = `${path} ${node.pos}`
        if (home.has(key)) {
          const known = home.get(key)
          lines.push(`${name}: ${known.name} of ${known.packageName}`)
          continue
        }
        home.set(key, { name, packageName })
        const seen = new Set()
        const show = (declared, indent) => {
          const file = declarations.file(declared.path)
          const { head, members, bases } = partsOf(file, declared.node)
          if (indent === '') lines.push(head)
          let accessor
          for (const member of members) {
            const label = member.name?.getText(file) ?? 'constructor'
            const isSetter = member.kind === SyntaxKind.SetAccessor && accessor === label
            accessor = member.kind === SyntaxKind.GetAccessor ? label : undefined
            if (!isSetter && name !== 'errorCodes') check(`${packageName} ${name}.${label}`, member)
            lines.push(`  ${oneLine(member.getText(file))}`)
          }
          for (const base of bases) {
            for (const inherited of declarations.find(declared.path, base)) {
              const at = `${inherited.path} ${inherited.node.pos}`
              if (seen.has(at) || names.includes(base)) continue
              seen.add(at)
              show(inherited, '  ')
            }
          }
        }
        check(`${packageName} ${name}`, found.find(({ node }) => node.jsDoc?.length)?.node ?? node)
        for (const declared of found) show(declared, '')
      }
      snapshots.set(folder, `${lines.join('\n')}\n`)
    }
  } finally {
    declarations.close()
  }
  return { snapshots, undocumented: [...undocumented], counted: counted.size }
}

export const snapshotPath = (folder) => join(root, 'docs/api', `${folder}.txt`)

await whenMain(import.meta.url, () => {
  const { snapshots, undocumented, counted } = readApi()
  for (const [folder, text] of snapshots) {
    const path = snapshotPath(folder)
    if (process.argv.includes('--write')) {
      mkdirSync(dirname(path), { recursive: true })
      writeFileSync(path, text)
    } else if (!existsSync(path) || readFileSync(path, 'utf8') !== text) {
      console.log(`${relative(root, path)} differs: node scripts/api.mjs --write`)
      process.exitCode = 1
    }
  }
  for (const where of undocumented) console.log(`no docstring: ${where}`)
  console.log(`${undocumented.length} of ${counted} public names and members have no docstring`)
})
