// The runner of the C++ tests:   tests [TEXT ...]   runs those whose "file: claim" contains one of the texts.
#include <dirent.h>

#include <algorithm>
#include <cstdio>
#include <exception>
#include <vector>

#include "harness.h"

namespace mr::test {
namespace {

struct Test {
  std::string room;
  std::string claim;
  void (*body)();
};

// A function's static, because registrations run before main in an unspecified order.
std::vector<Test>& tests() {
  static std::vector<Test> all;
  return all;
}

thread_local std::vector<const Note*> notes;

// The fault of the test that runs, for the end of the output.
std::string wrong;

void tell(const std::string& text) {
  wrong += text;
  std::fputs(text.c_str(), stdout);
  std::fflush(stdout);
}

// "test/codec_test.cc" is the room "codec".
std::string roomOf(std::string_view file) {
  file.remove_prefix(file.find_last_of('/') + 1);
  return std::string(file.substr(0, file.find("_test.cc")));
}

int openDescriptors() {
  DIR* folder = opendir("/proc/self/fd");
  if (!folder) return -1;
  int count = 0;
  while (readdir(folder)) ++count;
  closedir(folder);
  return count;
}

bool isWanted(const Test& test, int argc, char** argv) {
  if (argc < 2) return true;
  const std::string name = test.room + ": " + test.claim;
  return std::any_of(argv + 1, argv + argc, [&](const char* text) { return name.find(text) != std::string::npos; });
}

bool holds(const Test& test) {
  const int before = openDescriptors();
  try {
    test.body();
  } catch (const Failure&) {
    return false;
  } catch (const std::exception& error) {
    tell("      threw: " + std::string(error.what()) + "\n");
    return false;
  }
  const int after = openDescriptors();
  if (after == before) return true;
  tell("      left open: " + std::to_string(after - before) + " descriptors more than before\n");
  return false;
}

}  // namespace

Registration::Registration(const char* file, const char* claim, void (*body)()) {
  tests().push_back({roomOf(file), claim, body});
}

Note::Note(std::function<std::string()> text) : text_(std::move(text)) { notes.push_back(this); }
Note::~Note() { std::erase(notes, this); }

void fail(const char* file, int line, const std::string& what) {
  tell("      " + std::string(file) + ":" + std::to_string(line) + ": " + what + "\n");
  for (const Note* note : notes) tell("      with " + note->text() + "\n");
  throw Failure{};
}

int run(int argc, char** argv) {
  std::vector<Test> all = tests();
  std::stable_sort(all.begin(), all.end(), [](const Test& a, const Test& b) { return a.room < b.room; });
  std::string room;
  int passed = 0;
  std::vector<std::string> failed;
  for (const Test& test : all) {
    if (!isWanted(test, argc, argv)) continue;
    if (test.room != room) std::printf("\n  %s\n", test.room.c_str());
    room = test.room;
    std::fflush(stdout);  // so that a test that ends the process is found behind the last line
    wrong.clear();
    const bool ok = holds(test);
    std::printf("    %s %s\n", ok ? "✓" : "✗", test.claim.c_str());
    if (ok) {
      ++passed;
    } else {
      failed.push_back("    ✗ " + test.room + ": " + test.claim + "\n" + wrong);
    }
  }
  std::printf("\n%d passed, %zu failed\n", passed, failed.size());
  // Once more: it stands pages above, and only the end of an output is kept.
  for (const std::string& what : failed) std::fputs(what.c_str(), stdout);
  // A filter that matches nothing is a mistake, not a success.
  return !failed.empty() || (passed == 0 && argc > 1) ? 1 : 0;
}

}  // namespace mr::test

int main(int argc, char** argv) { return mr::test::run(argc, argv); }
