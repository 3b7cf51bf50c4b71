// SPDX-License-Identifier: Apache-2.0

// Go's github.com/containernetworking/plugins/pkg/ns, as CNI plugins use it.
package main

import (
	"fmt"
	"os"
	"syscall"
	"time"

	"github.com/containernetworking/plugins/pkg/ns"
	"github.com/containernetworking/plugins/pkg/testutils"
)

var target = os.Args[1]

func opened(name string) ns.NetNS {
	handle, err := ns.GetNS(path(name))
	check(true, "GetNS", err)
	return handle
}

var handles []ns.NetNS

func present(count int) []ns.NetNS {
	for len(handles) < count {
		handles = append(handles, opened(numbered("bench", len(handles))))
	}
	return handles[:count]
}

func nothing(ns.NetNS) error { return nil }

func timed(count int) time.Duration {
	handle := opened(target)
	defer handle.Close()
	home, inside := here(), ""
	check(true, "Do", handle.Do(func(ns.NetNS) error { inside = here(); return nil }))
	check(inside != home, "inside", nil)
	done := 0
	body := func(ns.NetNS) error { done++; return nil }
	start := time.Now()
	for i := 0; i < count; i++ {
		check(true, "Do", handle.Do(body))
	}
	spent := time.Since(start)
	check(done == count, "all done", nil)
	return spent
}

func doTimes(count int) { timed(count) }

func threads(number int) operation {
	return func(count, _ int) time.Duration { return together(count, number, doTimes) }
}

func main() {
	serve(map[string]operation{
		"do": func(count, _ int) time.Duration { return timed(count) },
		"inside": func(count, _ int) (spent time.Duration) {
			handle := opened(target)
			defer handle.Close()
			check(true, "Do", handle.Do(func(ns.NetNS) error {
				start := time.Now()
				for i := 0; i < count; i++ {
					check(true, "Do", handle.Do(nothing))
				}
				spent = time.Since(start)
				return nil
			}))
			return spent
		},
		"visit": func(count, number int) time.Duration {
			all := present(number)
			done := 0
			body := func(ns.NetNS) error { done++; return nil }
			start := time.Now()
			for i := 0; i < count; i++ {
				check(true, "Do", all[i%number].Do(body))
			}
			spent := time.Since(start)
			check(done == count, "all done", nil)
			return spent
		},
		"socket": func(count, _ int) time.Duration {
			handle := opened(target)
			defer handle.Close()
			body := func(ns.NetNS) error {
				fd, err := syscall.Socket(syscall.AF_INET,
					syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
				if err != nil {
					return err
				}
				return syscall.Close(fd)
			}
			start := time.Now()
			for i := 0; i < count; i++ {
				check(true, "Do", handle.Do(body))
			}
			return time.Since(start)
		},
		"current": func(count, _ int) time.Duration {
			start := time.Now()
			for i := 0; i < count; i++ {
				handle, err := ns.GetCurrentNS()
				check(true, "GetCurrentNS", err)
				check(true, "Close", handle.Close())
			}
			return time.Since(start)
		},
		"open": func(count, _ int) time.Duration {
			start := time.Now()
			for i := 0; i < count; i++ {
				check(true, "Close", opened(target).Close())
			}
			return time.Since(start)
		},
		"from_pid": func(count, _ int) time.Duration {
			of := fmt.Sprintf("/proc/%d/ns/net", os.Getppid())
			start := time.Now()
			for i := 0; i < count; i++ {
				handle, err := ns.GetNS(of)
				check(true, "GetNS", err)
				check(true, "Close", handle.Close())
			}
			return time.Since(start)
		},
		"create": create,
		// It has no nameless ones: both are NewNS, Close, UnmountNS.
		"new":           createDelete,
		"create_delete": createDelete,
		"delete": func(_, number int) time.Duration {
			doomed := []ns.NetNS{}
			for i := 0; i < number; i++ {
				doomed = append(doomed, opened(numbered("doomed", i)))
			}
			for _, handle := range doomed {
				handle.Close()
			}
			start := time.Now()
			for _, handle := range doomed {
				check(true, "UnmountNS", testutils.UnmountNS(handle))
			}
			return time.Since(start)
		},
		"threads1": threads(1),
		"threads2": threads(2),
		"threads4": threads(4),
	})
}

func made() ns.NetNS {
	handle, err := testutils.NewNS()
	check(true, "NewNS", err)
	check(true, "Close", handle.Close())
	return handle
}

func create(count, _ int) time.Duration {
	handles := make([]ns.NetNS, count)
	start := time.Now()
	for i := range handles {
		handles[i] = made()
	}
	spent := time.Since(start)
	for _, handle := range handles {
		check(true, "UnmountNS", testutils.UnmountNS(handle))
	}
	return spent
}

func createDelete(count, _ int) time.Duration {
	start := time.Now()
	for i := 0; i < count; i++ {
		check(true, "UnmountNS", testutils.UnmountNS(made()))
	}
	return time.Since(start)
}
