package qcow2
