// SPDX-License-Identifier: Apache-2.0

// Go's github.com/vishvananda/netns, used as its README shows.
package main

import (
	"os"
	"runtime"
	"syscall"
	"time"

	"github.com/vishvananda/netns"
)

var target = os.Args[1]

func opened(name string) netns.NsHandle {
	handle, err := netns.GetFromName(name)
	check(true, "GetFromName", err)
	return handle
}

var handles []netns.NsHandle

func present(count int) []netns.NsHandle {
	for len(handles) < count {
		handles = append(handles, opened(numbered("bench", len(handles))))
	}
	return handles[:count]
}

func do(handle netns.NsHandle, body func()) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	origin, err := netns.Get()
	check(true, "Get", err)
	defer origin.Close()
	check(true, "Set", netns.Set(handle))
	body()
	check(true, "Set", netns.Set(origin))
}

func timed(count int, handle netns.NsHandle) time.Duration {
	home, inside := here(), ""
	do(handle, func() { inside = here() })
	check(inside != home && here() == home, "inside and home", nil)
	done := 0
	body := func() { done++ }
	start := time.Now()
	for i := 0; i < count; i++ {
		do(handle, body)
	}
	spent := time.Since(start)
	check(done == count, "all done", nil)
	return spent
}

func doTimes(count int) {
	handle := opened(target)
	defer handle.Close()
	timed(count, handle)
}

func threads(number int) operation {
	return func(count, _ int) time.Duration { return together(count, number, doTimes) }
}

// Makes namespaces with make, which moves the thread into them.
func made(
	count int, make func(i int) (netns.NsHandle, error), after func(i int),
) time.Duration {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	home := here()
	start := time.Now()
	for i := 0; i < count; i++ {
		origin, err := netns.Get()
		check(true, "Get", err)
		handle, err := make(i)
		check(true, "New", err)
		check(true, "Set", netns.Set(origin))
		handle.Close()
		origin.Close()
		after(i)
	}
	spent := time.Since(start)
	check(here() == home, "home", nil)
	return spent
}

func named(i int) (netns.NsHandle, error) { return netns.NewNamed(numbered("vishvananda", i)) }

func unnamed(i int) { check(true, "DeleteNamed", netns.DeleteNamed(numbered("vishvananda", i))) }

func create(count, _ int) time.Duration {
	spent := made(count, named, func(int) {})
	for i := 0; i < count; i++ {
		unnamed(i)
	}
	return spent
}

func main() {
	runtime.LockOSThread()
	serve(map[string]operation{
		"do": func(count, _ int) time.Duration {
			handle := opened(target)
			defer handle.Close()
			return timed(count, handle)
		},
		"inside": func(count, _ int) (spent time.Duration) {
			handle := opened(target)
			defer handle.Close()
			do(handle, func() {
				start := time.Now()
				for i := 0; i < count; i++ {
					do(handle, func() {})
				}
				spent = time.Since(start)
			})
			return spent
		},
		"visit": func(count, number int) time.Duration {
			all := present(number)
			done := 0
			body := func() { done++ }
			start := time.Now()
			for i := 0; i < count; i++ {
				do(all[i%number], body)
			}
			spent := time.Since(start)
			check(done == count, "all done", nil)
			return spent
		},
		"socket": func(count, _ int) time.Duration {
			handle := opened(target)
			defer handle.Close()
			body := func() {
				fd, err := syscall.Socket(syscall.AF_INET,
					syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
				check(true, "Socket", err)
				check(true, "Close", syscall.Close(fd))
			}
			start := time.Now()
			for i := 0; i < count; i++ {
				do(handle, body)
			}
			return time.Since(start)
		},
		"current": func(count, _ int) time.Duration {
			start := time.Now()
			for i := 0; i < count; i++ {
				handle, err := netns.Get()
				check(true, "Get", err)
				handle.Close()
			}
			return time.Since(start)
		},
		"open": func(count, _ int) time.Duration {
			start := time.Now()
			for i := 0; i < count; i++ {
				handle := opened(target)
				handle.Close()
			}
			return time.Since(start)
		},
		"from_pid": func(count, _ int) time.Duration {
			pid := os.Getppid()
			start := time.Now()
			for i := 0; i < count; i++ {
				handle, err := netns.GetFromPid(pid)
				check(true, "GetFromPid", err)
				handle.Close()
			}
			return time.Since(start)
		},
		"new": func(count, _ int) time.Duration {
			return made(count, func(int) (netns.NsHandle, error) { return netns.New() },
				func(int) {})
		},
		"create":        create,
		"create_delete": func(count, _ int) time.Duration { return made(count, named, unnamed) },
		"delete": func(_, number int) time.Duration {
			start := time.Now()
			for i := 0; i < number; i++ {
				check(true, "DeleteNamed", netns.DeleteNamed(numbered("doomed", i)))
			}
			return time.Since(start)
		},
		"threads1": threads(1),
		"threads2": threads(2),
		"threads4": threads(4),
	})
}
