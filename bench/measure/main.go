//go:build linux

// Measure runs commands in turn, round after round, and prints for each one a line:
// the least and the median of its CPU time in milliseconds, its peak memory in KiB,
// and how many times as long as the first command it took, and the first as long as
// it, as the median of the rounds. Their output goes to /dev/null. A command is run
// no more once its runs have taken longer than the flag enough says.
//
//	go run ./bench/measure -rounds 5 'qinspect check x.qcow2' 'qemu-img check x.qcow2'
//
// CPU time is that of the whole process, in user mode and in the kernel, as the
// kernel tells the parent at the end. So is peak memory, but there the kernel counts
// what the child had while it was a copy of its parent, before it became the command.
// So a parent hides what is smaller than itself: this one is small, 3 MiB, as
// measuring the command true shows.
package main

import (
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"
)

// A command is one to measure, and what its runs took.
type command struct {
	words  []string
	times  []time.Duration
	memory int64 // KiB
	spent  time.Duration
}

func main() {
	log.SetFlags(0)
	log.SetPrefix("measure: ")
	rounds := flag.Int("rounds", 5, "how many times each command is run")
	enough := flag.Duration("enough", 20*time.Second, "run a command no more when it has taken this long")
	flag.Parse()
	var commands []*command
	for _, line := range flag.Args() {
		commands = append(commands, &command{words: strings.Fields(line)})
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		log.Fatal(err)
	}
	for range *rounds {
		for _, c := range commands {
			if c.spent > *enough {
				continue
			}
			if err := c.run(null); err != nil {
				log.Fatal(strings.Join(c.words, " "), ": ", err)
			}
		}
	}
	for _, c := range commands {
		fmt.Println(c.result(commands[0]))
	}
}

// run runs the command once, with a file for its input and output.
func (c *command) run(null *os.File) error {
	path, err := exec.LookPath(c.words[0])
	if err != nil {
		return err
	}
	start := time.Now()
	p, err := os.StartProcess(path, c.words, &os.ProcAttr{Files: []*os.File{null, null, os.Stderr}})
	if err != nil {
		return err
	}
	state, err := p.Wait()
	if err != nil {
		return err
	}
	usage, ok := state.SysUsage().(*syscall.Rusage)
	if !ok || !state.Success() {
		return fmt.Errorf("%v", state)
	}
	c.spent += time.Since(start)
	c.times = append(c.times, state.UserTime()+state.SystemTime())
	c.memory = max(c.memory, usage.Maxrss)
	return nil
}

// result is the line of a command beside the first one.
func (c *command) result(first *command) string {
	ratios := make([]float64, min(len(c.times), len(first.times)))
	for i := range ratios {
		ratios[i] = float64(c.times[i]) / float64(first.times[i])
	}
	slices.Sort(ratios)
	slices.Sort(c.times)
	milliseconds := func(d time.Duration) float64 { return float64(d) / 1e6 }
	ratio := ratios[len(ratios)/2]
	return fmt.Sprintf("%.1f %.1f %d %.2f %.2f", milliseconds(c.times[0]), milliseconds(c.times[len(c.times)/2]), c.memory, ratio, 1/ratio)
}
