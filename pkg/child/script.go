package child

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// interpreter is a program that runs the first file among its arguments, whatever the
// file's mode.
type interpreter struct {
	code  string // letters of those options after which there is code in place of a file
	shell bool   // the code is a command line
}

// interpreters by name, without a version.
var interpreters = map[string]interpreter{
	"sh": shell, "bash": shell, "dash": shell, "ash": shell, "ksh": shell, "mksh": shell, "zsh": shell, "fish": shell,
	"python": {code: "c"}, "pypy": {code: "c"}, "perl": {code: "eE"}, "ruby": {code: "e"}, "node": {code: "ep"}, "nodejs": {code: "ep"},
	"lua": {code: "e"}, "luajit": {code: "e"}, "php": {code: "r"}, "tclsh": {}, "expect": {code: "c"}, "java": {},
}

var shell = interpreter{code: "c", shell: true}

// wrappers run the first program among their arguments.
var wrappers = []string{"busybox", "env", "ionice", "nice", "nohup", "setsid", "stdbuf", "timeout"}

// programs are the files that a command line would run as us, as far as that can be
// seen from it: the program itself, and what an interpreter or a wrapper makes of its
// arguments. The rest of them are data, which anybody may write.
func programs(argv []string) []string {
	files, args := []string{argv[0]}, argv[1:]
	name := strings.TrimRight(filepath.Base(argv[0]), "0123456789.-")
	if with, ok := interpreters[name]; ok {
		return append(files, with.scripts(args)...)
	}
	if slices.Contains(wrappers, name) {
		for i, a := range args {
			if file, ok := programOf(a); ok {
				return append(files, programs(append([]string{file}, args[i+1:]...))...)
			}
		}
	}
	return files
}

// scripts are what it runs.
func (in interpreter) scripts(args []string) (files []string) {
	for i, a := range args {
		if givesCode(a, in.code) {
			if !in.shell {
				return files
			}
			for _, text := range args[i+1:] {
				if !strings.HasPrefix(text, "-") {
					return append(files, begins(text)...)
				}
			}
			return files
		}
		file, there, ok := fileOf(a)
		if ok {
			files = append(files, file)
		}
		if there {
			return files
		}
	}
	return files
}

// begins are the programs that code begins with, where that is a command line.
func begins(code string) []string {
	words := strings.Fields(code)
	if len(words) == 0 {
		return nil
	}
	file, ok := programOf(words[0])
	if !ok {
		return nil
	}
	return programs(append([]string{file}, words[1:]...))
}

// givesCode says whether an option is one after which there is code. Those that take the
// rest of their word as a value are none of them.
func givesCode(option, letters string) bool {
	if len(option) < 2 || option[0] != '-' || option[1] == '-' {
		return false
	}
	last := len(option) - 1
	return strings.IndexByte(letters, option[last]) >= 0 && !strings.ContainsAny(option[1:last], "IMWXmor")
}

// programOf is the file that is run under a name: with a slash it is a path, without one
// it is searched for.
func programOf(name string) (file string, ok bool) {
	if strings.Contains(name, "/") {
		file, _, ok = fileOf(name)
		return file, ok
	}
	for _, dir := range filepath.SplitList(strings.TrimPrefix(Path, "PATH=")) {
		if file, there, _ := fileOf(filepath.Join(dir, name)); there && name != "" {
			return file, true
		}
	}
	return "", false
}

// fileOf is the file that an argument names. What is not there counts, since it may come
// any moment, if it is an absolute path; a directory or a device does not.
func fileOf(a string) (file string, there, ok bool) {
	if strings.HasPrefix(a, "-") || !strings.Contains(a, "/") {
		return "", false, false
	}
	file = a
	if !filepath.IsAbs(a) {
		file = "/" + a // where commands run
	}
	info, err := os.Stat(file)
	if err != nil {
		return file, false, filepath.IsAbs(a)
	}
	return file, info.Mode().IsRegular(), info.Mode().IsRegular()
}
