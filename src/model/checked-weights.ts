/** Weights that are checked as they are read. */
import { Pacer } from "../backends/cpu/pacer.ts";
import type { TensorSource } from "../data/tensor.ts";
import { NonFiniteError, ShapeError } from "../errors.ts";

/** The same tensors, refused where they are not what their header says or not finite. */
export function checked(source: TensorSource): TensorSource {
  return {
    tensors: source.tensors,
    async read(name, options) {
      const tensor = await source.read(name, options);
      const { data } = tensor;
      const count = source.tensors.get(name)!.shape.reduce((product, length) => product * length, 1);
      if (data.length !== count) {
        throw new ShapeError(
          `The tensor ${name} has ${data.length} values, and its shape needs ${count}.`,
          "Let the tensor source return whole tensors.",
        );
      }
      const pacer = new Pacer(options?.signal);
      for (let i = 0; i < data.length; i++) {
        if ((i & 0xfffff) === 0 && pacer.due) await pacer.turn();
        if (data[i] - data[i] === 0) continue;
        throw new NonFiniteError(
          `Weight ${i} of ${name} is ${data[i]}.`,
          "The checkpoint is damaged, or was saved after training had failed: download it again or use another one.",
        );
      }
      return tensor;
    },
  };
}
