{
  # 1: the units of build/unity, each of which holds a room. Compiles in a third of the time; see scripts/build-native.mjs.
  'variables': { 'unity%': 0 },
  # One target: node-gyp-build takes the first .node file it finds.
  'targets': [
    {
      'target_name': 'multireactor',
      'sources': [],
      'include_dirs': ['src', '<!(node -p "require(\'node-addon-api\').include_dir")'],
      'defines': ['NAPI_VERSION=9', 'NODE_ADDON_API_DISABLE_CPP_EXCEPTIONS',
        # A thread that is being terminated can throw nothing more: that must not end the process.
        'NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS', 'NODE_ADDON_API_DISABLE_DEPRECATED'],
      'conditions': [
        ['unity==1', {
          'sources': [
            '<!@(node -p "require(\'fs\').readdirSync(\'build/unity\').map(function (file) { return \'build/unity/\' + file }).join(\' \')")',
          ],
          # Of headers that have become part of a source: the separate units are what warnings are about.
          'cflags_cc': ['-w'],
        }, {
          'sources': [
            '<!@(node -p "const {readdirSync} = require(\'fs\'); readdirSync(\'src\').map(function (room) { return readdirSync(\'src/\' + room).map(function (file) { return \'src/\' + room + \'/\' + file }) }).flat().filter(function (file) { return file.endsWith(\'.cc\') }).join(\' \')")',
          ],
        }],
        ['OS=="linux"', {
          # Node's own flags come first in the command line: what contradicts ours has to be taken out of them.
          # Without RTTI, make_shared needs a symbol of a newer libstdc++.
          'cflags_cc!': ['-std=gnu++17', '-std=gnu++20', '-fno-exceptions', '-fno-rtti'],
          'cflags_cc': ['-std=c++20', '-fexceptions', '-frtti'],
          'cflags!': ['-O3'],
          'cflags': ['-O2', '-Wall', '-Wextra', '-Wno-unused-parameter', '-fvisibility=hidden'],
          # Node unloads an addon with the last environment that loaded it, and the process-wide registry would go with it.
          'ldflags': ['-Wl,-z,nodelete'],
        }],
      ],
    },
  ],
}
