// Package child runs commands for the agent: checks and hooks. It owns what such a
// command may do, how much it may say, and that nothing of it is left.
//
// A command runs without a shell, in /, with standard input as given, and with PATH and
// what it is given as its environment. It has no capabilities and cannot get any (no
// new privileges): the agent's are none of its business. It is refused if somebody
// else than root or the agent's user could have written it, or the script that it has an
// interpreter run.
//
// It leads a session and a process group of its own. The group gets SIGKILL when ctx
// ends, and also when the command has ended by itself. After the first, and where
// somebody still holds the output open, so does the rest of the tree: the session, and
// what left that (setsid) but has kept its environment; at the end of ctx also what gave
// up both, if the parents between it and the command still live. A command that ends in
// time may leave a daemon behind, in a session of its own and with its output closed: to
// look through all processes after every command costs too much.
//
// There is no Pdeathsig: it follows the thread that forked, not the process, and
// reaches the leader alone. What an agent that is killed leaves behind, its systemd
// unit or container ends.
//
// It must not know what a command is for. Goroutines: one for each start, which ends
// with it.
package child
