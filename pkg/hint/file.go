package hint

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"
)

func hasFiles(w Watch) bool { return len(w.Files) > 0 }

func (e *Engine) runFiles(ctx context.Context, s source) error {
	return e.again(ctx, s, hasFiles, e.watchFiles)
}

// watchFiles watches the directory of each file, since a file that is replaced is
// another file, and those above it, since a directory may be replaced too. Whenever one
// of them, or a symbolic link, becomes another, it begins anew.
func (e *Engine) watchFiles(ctx context.Context, set []Watch) error {
	files := map[string]*file{}
	for _, x := range set {
		for _, f := range x.Files {
			f = filepath.Clean(f)
			if files[f] == nil {
				files[f] = &file{path: f}
			}
			files[f].checks = append(files[f].checks, x.Check)
		}
	}
	begun := func() {
		for _, f := range files {
			f.was = look(f.path)
		}
		for _, x := range set {
			for _, f := range x.Files {
				if x.Begin {
					e.tellFile(&file{path: f, checks: []string{x.Check}}, "watched from now on")
				}
			}
		}
	}
	for ctx.Err() == nil {
		if err := e.watchSteps(ctx, files, begun); err != nil {
			return fmt.Errorf("watch files: %w", err)
		}
		begun = func() { e.compareFiles(files) }
	}
	return nil
}

// watchSteps watches what leads to each file now, until that is something else.
func (e *Engine) watchSteps(ctx context.Context, files map[string]*file, begun func()) error {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("%w; raise fs.inotify.max_user_instances, or free some", err)
	}
	defer func() { _ = w.Close() }()
	var list []Missing
	for _, f := range files {
		if err := f.watch(w); err != nil {
			for _, c := range f.checks {
				list = append(list, Missing{c, File, fmt.Sprintf("%s: %v", f.path, err)})
			}
		}
	}
	e.lacks(File, list)
	again := time.NewTimer(cappedRetry)
	defer again.Stop()
	if len(list) == 0 {
		again.Stop()
	}
	begun() // after the watch: nothing goes unseen in between
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-again.C: // what could not be watched may be now
			return nil
		case ev, ok := <-w.Events:
			if !ok {
				return errors.New("the end of events")
			}
			if e.fileEvent(files, ev) {
				return nil
			}
		case err, ok := <-w.Errors:
			if !ok {
				return errors.New("the end of errors")
			}
			if !errors.Is(err, fsnotify.ErrEventOverflow) {
				return err
			}
			for _, f := range files { // whatever was in the events that are lost
				e.tellFile(f, "events were lost")
				f.was = look(f.path)
			}
			return nil
		}
	}
}

// fileEvent tells of a file, and says whether what leads to one may be something else now.
func (e *Engine) fileEvent(files map[string]*file, ev fsnotify.Event) (anew bool) {
	for _, f := range files {
		switch {
		case ev.Name == f.steps[len(f.steps)-1]:
			f.was = look(f.path)
			e.tellFile(f, strings.ToLower(ev.Op.String()))
			anew = anew || !slices.Equal(f.steps, steps(f.path))
		case slices.ContainsFunc(f.steps, func(step string) bool { return step == ev.Name || above(ev.Name, step) }):
			anew = true
		}
	}
	return anew
}

// compareFiles tells of the files that are others than before.
func (e *Engine) compareFiles(files map[string]*file) {
	for _, f := range files {
		was, is := f.was, look(f.path)
		f.was = is
		switch {
		case was == nil && is == nil:
		case was == nil:
			e.tellFile(f, "create")
		case is == nil:
			e.tellFile(f, "remove")
		case !os.SameFile(was, is) || was.Size() != is.Size() || !was.ModTime().Equal(is.ModTime()):
			e.tellFile(f, "replace")
		}
	}
}

func (e *Engine) tellFile(f *file, what string) {
	for _, c := range f.checks {
		e.tell(c, File, false, f.path+": "+what)
	}
}

// file is one that is watched.
type file struct {
	path   string
	checks []string
	steps  []string
	was    fs.FileInfo // nil: not there
}

// watch watches the directories of all steps, and those above them, which tell when they
// are removed or renamed.
func (f *file) watch(w *fsnotify.Watcher) error {
	for {
		f.steps = steps(f.path)
		list := directories(f.steps)
		var err error
		for _, dir := range list {
			err = cmp.Or(err, w.Add(dir))
		}
		if slices.Equal(f.steps, steps(f.path)) && slices.Equal(list, directories(f.steps)) { // nothing came or went while we looked
			return err
		}
	}
}

const maxLinks = 40 // as in Linux, path_resolution(7)

// steps are the symbolic links that a path leads over, and last what they lead to, there
// or not. No step has a link above it, so each directory has one name only.
func steps(path string) (list []string) {
	for len(list) < maxLinks {
		link, to := firstLink(path)
		if link == "" {
			break
		}
		list = append(list, link)
		path = filepath.Join(to, strings.TrimPrefix(path, link))
	}
	return append(list, path)
}

// firstLink is the symbolic link in a path that is nearest to the root, and its target.
func firstLink(path string) (link, to string) {
	for end := range len(path) + 1 {
		if end == 0 || end < len(path) && path[end] != '/' {
			continue
		}
		if to, err := os.Readlink(path[:end]); err == nil {
			if !filepath.IsAbs(to) {
				to = filepath.Join(filepath.Dir(path[:end]), to)
			}
			return path[:end], to
		}
	}
	return "", ""
}

// directories are those above each step that are there, up to the root.
func directories(steps []string) (list []string) {
	for _, step := range steps {
		for dir := step; dir != "/"; {
			dir = filepath.Dir(dir)
			if _, err := os.Lstat(dir); err == nil && !slices.Contains(list, dir) {
				list = append(list, dir)
			}
		}
	}
	return list
}

func above(dir, path string) bool { return strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/") }

// look is what a path leads to; the link, where that leads nowhere.
func look(path string) fs.FileInfo {
	if info, err := os.Stat(path); err == nil {
		return info
	}
	info, err := os.Lstat(path)
	if err != nil {
		return nil
	}
	return info
}
