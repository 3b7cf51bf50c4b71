// SPDX-License-Identifier: Apache-2.0

// The Go side of the race's line protocol, see ../README.md.
package main

import (
	"bufio"
	"fmt"
	"os"
	"sort"
	"strings"
	"sync"
	"time"
)

// An operation does its work count times and returns how long that took.
type operation func(count, present int) time.Duration

// A check that fails ends the worker: no time is printed of work not done.
func check(truth bool, what string, err error) {
	if err != nil {
		what = fmt.Sprint(what, ": ", err)
	}
	if err != nil || !truth {
		fmt.Println("failed", what)
		os.Exit(1)
	}
}

// As CNI writes it: its UnmountNS leaves any other path alone.
func path(name string) string { return "/var/run/netns/" + name }

func numbered(prefix string, i int) string { return fmt.Sprintf("%s-%05d", prefix, i) }

// Where the calling thread is, by the kernel's word.
func here() string {
	link, err := os.Readlink("/proc/thread-self/ns/net")
	check(true, "readlink", err)
	return link
}

// How long count calls on that many threads take together.
func together(count, threads int, work func(count int)) time.Duration {
	share := (count + threads - 1) / threads
	var all sync.WaitGroup
	start := time.Now()
	for i := 0; i < threads; i++ {
		all.Add(1)
		go func() {
			defer all.Done()
			work(share)
		}()
	}
	all.Wait()
	return time.Since(start) * time.Duration(count) / time.Duration(share*threads)
}

func serve(operations map[string]operation) {
	names := []string{}
	for name := range operations {
		names = append(names, name)
	}
	sort.Strings(names)
	fmt.Println(strings.Join(names, " "))
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		var name string
		var count, present int
		_, err := fmt.Sscan(lines.Text(), &name, &count, &present)
		check(operations[name] != nil, "request", err)
		fmt.Println(operations[name](count, present).Nanoseconds())
	}
}
