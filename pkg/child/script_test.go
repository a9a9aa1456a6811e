package child

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestWhatACommandLineRuns(t *testing.T) {
	script := filepath.Join(t.TempDir(), "check")
	if err := os.WriteFile(script, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	system := func(name string) string {
		file, ok := programOf(name)
		if !ok {
			t.Fatalf("no %s on this machine", name)
		}
		return file
	}
	for line, want := range map[string][]string{
		"/bin/true SCRIPT":                             nil,
		"/usr/bin/pgrep -f SCRIPT":                     nil,
		"/bin/sh SCRIPT":                               {"SCRIPT"},
		"/bin/sh .SCRIPT":                              {"/.SCRIPT"},
		"/bin/bash -e -o pipefail SCRIPT /etc/passwd":  {"SCRIPT"},
		"/bin/bash --rcfile=/etc/passwd SCRIPT":        {"SCRIPT"},
		"/usr/bin/python3.11 -W ignore SCRIPT SCRIPT":  {"SCRIPT"},
		"/usr/bin/perl -Mbase SCRIPT":                  {"SCRIPT"},
		"/usr/bin/perl -w /etc /dev/null SCRIPT":       {"SCRIPT"},
		"/bin/sh /not/there SCRIPT":                    {"/not/there", "SCRIPT"},
		"/bin/sh -c SCRIPT":                            {"SCRIPT"},
		"/bin/sh -ec SCRIPT|--all|cat":                 {"SCRIPT"},
		"/bin/sh -c if|test|-e|SCRIPT;|then|:;|fi":     nil,
		"/bin/sh -c : SCRIPT":                          nil,
		"/bin/sh -c sh|SCRIPT":                         {system("sh"), "SCRIPT"},
		"/bin/sh -c":                                   nil,
		"/bin/sh -c |":                                 nil,
		"/usr/bin/perl -ne /x/|&&|exit SCRIPT":         nil,
		"/usr/bin/python3 -c pass SCRIPT":              nil,
		"/usr/bin/timeout -k 1 5s SCRIPT /etc/passwd":  {"SCRIPT"},
		"/usr/bin/timeout 5 cat SCRIPT":                {system("cat")},
		"/usr/bin/env A=SCRIPT sh SCRIPT":              {system("sh"), "SCRIPT"},
		"/usr/bin/env nice -n 10 sh -e SCRIPT":         {system("nice"), system("sh"), "SCRIPT"},
		"/usr/bin/env":                                 nil,
		"/usr/lib/nagios/plugins/check_file -f SCRIPT": nil,
	} {
		var argv []string
		for _, w := range strings.Split(strings.ReplaceAll(line, "SCRIPT", script), " ") {
			argv = append(argv, strings.ReplaceAll(w, "|", " "))
		}
		all := []string{argv[0]}
		for _, w := range want {
			all = append(all, strings.ReplaceAll(w, "SCRIPT", script))
		}
		if diff := cmp.Diff(all, programs(argv)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", line, diff)
		}
	}
}

// Who may write what an interpreter runs could run anything as us.
func TestAScriptThatOthersMayWriteIsRefused(t *testing.T) {
	dir := t.TempDir()
	script := filepath.Join(dir, "check.sh")
	if err := os.WriteFile(script, []byte("echo ran\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	lines := [][]string{{"/bin/sh", script}, {"/bin/sh", "-c", ". " + script}, {"/bin/sh", "-c", "sh " + script}, {"/usr/bin/env", "sh", "-e", script}}
	for _, argv := range lines {
		if end, err := Run(t.Context(), Command{Argv: argv}); err != nil || end.FirstLine() != "ran" {
			t.Errorf("%q: %q, %v", argv, end.Output, err)
		}
	}
	if err := os.Chmod(script, 0o602); err != nil {
		t.Fatal(err)
	}
	for i, argv := range lines {
		_, err := Run(t.Context(), Command{Argv: argv})
		if refused := err != nil && strings.Contains(err.Error(), "check.sh may be written by others"); refused != (i != 1) {
			t.Errorf("%q: %v", argv, err)
		}
	}
}
